"""Files to read, compressed or not, whole or not."""

import gzip
import os
import stat

import pytest
import zstandard

from evtools.errors import UsageError
from evtools.transport.recording.compression import Compression, FileReader


class FakeClock:
    """Seconds that pass a little whenever somebody looks."""

    def __init__(self):
        self.now = 100.0

    def wall(self):
        return self.now

    def monotonic(self):
        self.now += 0.01
        return self.now


def never():
    return False


def content(reader):
    pieces = []
    while piece := reader.read(None, never):
        pieces.append(piece)
    reader.close()
    return b"".join(pieces)


def reader_of(tmp_path, data, name="x"):
    path = tmp_path / name
    path.write_bytes(data)
    return FileReader(str(path), clock=FakeClock())


DATA = b'{"type":"x"}\n' * 20_000


@pytest.mark.parametrize("compression", Compression)
def test_frames_read_back(tmp_path, compression):
    packed = compression.frame(DATA[:100]) + compression.frame(DATA[100:])
    reader = reader_of(tmp_path, packed)
    assert content(reader) == DATA
    assert reader.damage == ""
    assert reader.done_bytes == len(packed)


def test_others_read_what_we_packed_and_we_what_they_did(tmp_path):
    assert content(reader_of(tmp_path, gzip.compress(DATA))) == DATA
    assert content(reader_of(tmp_path, zstandard.compress(DATA))) == DATA
    assert gzip.decompress(Compression.GZIP.frame(DATA) * 2) == DATA * 2
    assert zstandard.decompress(Compression.ZSTD.frame(DATA)) == DATA


@pytest.mark.parametrize("compression", [Compression.GZIP, Compression.ZSTD])
def test_a_file_whose_writer_was_killed_is_read_up_to_there(tmp_path, compression):
    whole = compression.frame(DATA)
    reader = reader_of(tmp_path, whole + compression.frame(DATA)[:-5])
    assert content(reader).startswith(DATA)
    assert reader.damage == "breaks off inside a compressed frame"


@pytest.mark.parametrize("compression", [Compression.GZIP, Compression.ZSTD])
def test_damage_in_the_middle_ends_the_reading(tmp_path, compression):
    reader = reader_of(tmp_path, compression.frame(DATA) + b"rubbish" + b"\xff" * 100)
    assert content(reader) == DATA
    assert reader.damage
    assert reader.read(None, never) == b""


def test_what_cannot_be_opened_is_a_usage_error(tmp_path):
    with pytest.raises(UsageError, match=r"cannot read .*nope: No such file"):
        FileReader(str(tmp_path / "nope"), clock=FakeClock())
    with pytest.raises(UsageError, match="Is a directory"):
        FileReader(str(tmp_path), clock=FakeClock())


@pytest.fixture
def stdin():
    """The writing end of a pipe at descriptor 0."""
    before = os.dup(0)
    reading, writing = os.pipe()
    os.dup2(reading, 0)
    os.close(reading)
    yield writing
    os.dup2(before, 0)
    os.close(before)


def test_a_pipe_gives_what_there_is_and_says_when_there_is_nothing(stdin):
    reader = FileReader("-", clock=FakeClock())
    os.write(stdin, b"one\n")
    assert reader.read(5, never) == b"one\n"
    assert reader.read(0, never) is None
    assert reader.read(0.05, never) is None
    os.close(stdin)
    assert reader.read(None, never) == b""
    reader.close()
    assert stat.S_ISFIFO(os.fstat(0).st_mode), "stdin is not ours to close"


def test_a_wait_for_a_pipe_can_be_stopped(stdin):
    reader = FileReader("-", clock=FakeClock())
    answers = iter([False, False, True])
    assert reader.read(None, lambda: next(answers)) is None
    os.close(stdin)


def test_a_frame_that_comes_in_pieces_is_put_together(stdin):
    reader = FileReader("-", clock=FakeClock())
    frame = Compression.GZIP.frame(b"hello")
    os.write(stdin, frame[:6])
    assert reader.read(0, never) is None
    os.write(stdin, frame[6:])
    os.close(stdin)
    assert content(reader) == b"hello"


def test_a_read_error_is_damage(tmp_path):
    reader = reader_of(tmp_path, DATA)
    reader.close()
    reader.close()
    assert reader.read(None, never) == b""
    assert reader.damage == "Bad file descriptor"
