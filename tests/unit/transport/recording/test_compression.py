"""Files to read, compressed or not, whole or not."""

import gzip
import os
import stat

import pytest
import zstandard

from evtools.errors import UsageError
from evtools.transport.recording.compression import Compression, Reel


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


def content(reel):
    pieces = []
    while piece := reel.read(None, never):
        pieces.append(piece)
    reel.close()
    return b"".join(pieces)


def reel_of(tmp_path, data, name="x"):
    path = tmp_path / name
    path.write_bytes(data)
    return Reel(str(path), clock=FakeClock())


DATA = b'{"type":"x"}\n' * 20_000


@pytest.mark.parametrize("compression", Compression)
def test_frames_read_back(tmp_path, compression):
    packed = compression.frame(DATA[:100]) + compression.frame(DATA[100:])
    reel = reel_of(tmp_path, packed)
    assert content(reel) == DATA
    assert reel.damage == ""
    assert reel.done_bytes == reel.total_bytes == len(packed)


def test_what_others_packed_is_read(tmp_path):
    assert content(reel_of(tmp_path, gzip.compress(DATA))) == DATA
    assert content(reel_of(tmp_path, zstandard.compress(DATA))) == DATA


def test_others_read_what_we_packed():
    assert gzip.decompress(Compression.GZIP.frame(DATA) * 2) == DATA * 2
    assert zstandard.decompress(Compression.ZSTD.frame(DATA)) == DATA


def test_compression_shows_in_the_name():
    assert Compression.of_name("a.jsonl.gz") is Compression.GZIP
    assert Compression.of_name("a.jsonl.zst") is Compression.ZSTD
    assert Compression.of_name("gz") is Compression.NONE


@pytest.mark.parametrize("compression", [Compression.GZIP, Compression.ZSTD])
def test_a_file_whose_writer_was_killed_is_read_up_to_there(tmp_path, compression):
    whole = compression.frame(DATA)
    reel = reel_of(tmp_path, whole + compression.frame(DATA)[:-5])
    assert content(reel).startswith(DATA)
    assert reel.damage == "breaks off inside a compressed frame"


@pytest.mark.parametrize("compression", [Compression.GZIP, Compression.ZSTD])
def test_damage_in_the_middle_ends_the_reading(tmp_path, compression):
    reel = reel_of(tmp_path, compression.frame(DATA) + b"rubbish" + b"\xff" * 100)
    assert content(reel) == DATA
    assert reel.damage
    assert reel.read(None, never) == b""


def test_an_empty_file_has_no_content(tmp_path):
    assert content(reel_of(tmp_path, b"")) == b""


def test_a_missing_file_is_a_usage_error(tmp_path):
    with pytest.raises(UsageError, match=r"cannot read .*nope: No such file"):
        Reel(str(tmp_path / "nope"), clock=FakeClock())


def test_a_folder_is_a_usage_error(tmp_path):
    with pytest.raises(UsageError, match="Is a directory"):
        Reel(str(tmp_path), clock=FakeClock())


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
    reel = Reel("-", clock=FakeClock())
    assert reel.total_bytes is None
    os.write(stdin, b"one\n")
    assert reel.read(5, never) == b"one\n"
    assert reel.read(0, never) is None
    assert reel.read(0.05, never) is None
    os.close(stdin)
    assert reel.read(None, never) == b""
    reel.close()
    assert stat.S_ISFIFO(os.fstat(0).st_mode), "stdin is not ours to close"


def test_a_wait_for_a_pipe_can_be_stopped(stdin):
    reel = Reel("-", clock=FakeClock())
    answers = iter([False, False, True])
    assert reel.read(None, lambda: next(answers)) is None
    os.close(stdin)


def test_a_frame_that_comes_in_pieces_is_put_together(stdin):
    reel = Reel("-", clock=FakeClock())
    frame = Compression.GZIP.frame(b"hello")
    os.write(stdin, frame[:6])
    assert reel.read(0, never) is None
    os.write(stdin, frame[6:])
    os.close(stdin)
    assert content(reel) == b"hello"


def test_a_read_error_is_damage(tmp_path):
    reel = reel_of(tmp_path, DATA)
    reel.close()
    reel.close()
    assert reel.read(None, never) == b""
    assert reel.damage == "Bad file descriptor"


def test_only_a_file_can_be_read_again_from_its_beginning(tmp_path):
    (tmp_path / "file").touch()
    os.mkfifo(tmp_path / "pipe")
    writer = os.open(tmp_path / "pipe", os.O_RDWR)
    for name, rewindable in (("file", True), ("pipe", False)):
        reel = Reel(str(tmp_path / name), clock=FakeClock())
        assert reel.rewindable is rewindable
        reel.close()
    os.close(writer)
    assert not Reel("-", clock=FakeClock()).rewindable
