"""Recordings on disk: packed, rotated, moved away, cut off by a full disk."""

import errno
import gzip
import os
import resource
import stat
import threading
import time
from contextlib import contextmanager

import pytest
import zstandard

from evtools.errors import OutputError, UsageError
from evtools.transport.recording.writer import RecordingWriter, write_all
from tools.clock import FakeClock


@pytest.fixture
def clock():
    return FakeClock(1795186532.0)


@pytest.fixture
def zone(monkeypatch):
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def record(writer, *lines):
    for line in lines:
        writer.write(line)
        writer.flush()


def test_lines_are_written_with_their_ends_in_place_of_what_was_there(tmp_path, clock):
    (tmp_path / "x").write_text("old\n")
    writer = RecordingWriter(str(tmp_path / "x"), clock=clock)
    writer.write(b"one")
    writer.write(b"two")
    writer.close()
    writer.close()
    assert (tmp_path / "x").read_bytes() == b"one\ntwo\n"


def test_the_umask_decides_who_may_read(tmp_path, clock):
    before = os.umask(0o027)
    RecordingWriter(str(tmp_path / "x"), clock=clock).close()
    os.umask(before)
    assert stat.S_IMODE((tmp_path / "x").stat().st_mode) == 0o640


def test_a_quiet_recording_is_let_out_after_a_second(tmp_path, clock):
    writer = RecordingWriter(str(tmp_path / "x"), clock=clock)
    writer.write(b"one")
    writer.settle()
    assert (tmp_path / "x").read_bytes() == b""
    clock.now += 1
    writer.settle()
    assert (tmp_path / "x").read_bytes() == b"one\n"
    writer.close()


def test_a_busy_recording_is_let_out_when_enough_has_come(tmp_path, clock):
    writer = RecordingWriter(str(tmp_path / "x"), clock=clock)
    for _ in range(70):
        writer.write(b"x" * 1023)
    assert (tmp_path / "x").stat().st_size == 64 * 1024
    writer.close()
    assert (tmp_path / "x").stat().st_size == 70 * 1024


def unpack_zstd(data):
    unpacker = zstandard.ZstdDecompressor()
    return unpacker.stream_reader(data, read_across_frames=True).read()


@pytest.mark.parametrize(("suffix", "unpack"), [(".gz", gzip.decompress), (".zst", unpack_zstd)])
def test_a_packed_recording_is_readable_up_to_the_last_flush(tmp_path, clock, suffix, unpack):
    path = tmp_path / f"x{suffix}"
    writer = RecordingWriter(str(path), clock=clock)
    record(writer, b"one")
    assert unpack(path.read_bytes()) == b"one\n"
    writer.write(b"two")
    writer.close()
    assert unpack(path.read_bytes()) == b"one\ntwo\n"
    assert path.read_bytes().startswith(b"\x1f\x8b" if suffix == ".gz" else b"\x28\xb5")


# --- names and rotation -----------------------------------------------------------


def test_a_file_is_rotated_before_it_grows_too_large(tmp_path, clock):
    writer = RecordingWriter(str(tmp_path / "x"), clock=clock, rotate_size=8)
    record(writer, b"one", b"two", b"three", b"four-is-longer", b"5", b"6")
    writer.close()
    assert (tmp_path / "x").read_text() == "5\n6\n"
    assert (tmp_path / "x.1").read_text() == "four-is-longer\n"
    assert (tmp_path / "x.2").read_text() == "three\n"
    assert (tmp_path / "x.3").read_text() == "one\ntwo\n"


def test_the_number_stands_before_the_suffix_of_a_packed_file(tmp_path, clock):
    writer = RecordingWriter(str(tmp_path / "x.jsonl.gz"), clock=clock, rotate_size=1)
    record(writer, b"one", b"two")
    writer.close()
    assert names(tmp_path) == ["x.jsonl.1.gz", "x.jsonl.gz"]


@pytest.mark.parametrize("keep", [1, 2])
def test_only_so_many_older_files_are_kept(tmp_path, clock, keep):
    writer = RecordingWriter(str(tmp_path / "x"), clock=clock, rotate_size=1, rotate_keep=keep)
    record(writer, b"1", b"2", b"3", b"4", b"5")
    writer.close()
    assert names(tmp_path) == ["x", "x.1", "x.2"][: keep + 1]
    assert [(tmp_path / name).read_text() for name in names(tmp_path)] == [
        *("5\n", "4\n", "3\n")[: keep + 1]
    ]


def test_a_file_is_rotated_when_it_is_old_enough(tmp_path, clock):
    writer = RecordingWriter(str(tmp_path / "x"), clock=clock, rotate_every=60)
    record(writer, b"one")
    clock.now += 59
    writer.settle()
    assert names(tmp_path) == ["x"]
    clock.now += 1
    writer.settle()
    assert names(tmp_path) == ["x", "x.1"]
    writer.close()


def test_an_empty_file_is_not_rotated(tmp_path, clock):
    writer = RecordingWriter(str(tmp_path / "x"), clock=clock, rotate_every=60)
    clock.now += 61
    writer.settle()
    assert names(tmp_path) == ["x"]
    clock.now += 59
    record(writer, b"one")
    assert names(tmp_path) == ["x"]
    writer.close()


def test_every_period_has_a_file_of_its_name(tmp_path, clock, zone):
    path = str(tmp_path / "x-%H%M")
    writer = RecordingWriter(path, clock=clock, rotate_every=60, rotate_keep=2)
    (tmp_path / "x-1400").write_text("of somebody else\n")
    for line in (b"1", b"2", b"3", b"4"):
        record(writer, line)
        clock.now += 60
    record(writer, b"5")
    writer.close()
    assert names(tmp_path) == ["x-1400", "x-1457", "x-1458", "x-1459"]
    assert (tmp_path / "x-1459").read_text() == "5\n"


def test_an_empty_file_of_a_period_without_events_is_removed(tmp_path, clock, zone):
    writer = RecordingWriter(str(tmp_path / "x-%H%M"), clock=clock, rotate_every=60)
    clock.now += 600
    record(writer, b"one")
    writer.close()
    assert names(tmp_path) == ["x-1505"]


def test_with_rotation_nothing_that_exists_is_overwritten(tmp_path, clock):
    (tmp_path / "x").write_text("of the last run\n")
    writer = RecordingWriter(str(tmp_path / "x"), clock=clock, rotate_size=1000)
    record(writer, b"one")
    writer.close()
    assert (tmp_path / "x.1").read_text() == "of the last run\n"
    assert (tmp_path / "x").read_text() == "one\n"


def test_stdout_cannot_be_rotated(clock):
    with pytest.raises(UsageError, match="stdout cannot be rotated"):
        RecordingWriter("-", clock=clock, rotate_every=1)


# --- logrotate --------------------------------------------------------------------


def test_a_recording_that_was_moved_away_goes_on_under_its_name(tmp_path, clock):
    path = tmp_path / "x"
    writer = RecordingWriter(str(path), clock=clock)
    writer.write(b"one")
    writer.flush()
    path.rename(tmp_path / "x.old")
    path.write_text("")
    writer.write(b"two")
    writer.reopen()
    writer.write(b"three")
    writer.close()
    assert (tmp_path / "x.old").read_text() == "one\ntwo\n"
    assert path.read_text() == "three\n"


def test_a_recording_that_was_copied_and_truncated_goes_on(tmp_path, clock):
    writer = RecordingWriter(str(tmp_path / "x"), clock=clock)
    record(writer, b"one")
    os.truncate(tmp_path / "x", 0)
    record(writer, b"two")
    writer.close()
    assert (tmp_path / "x").read_bytes() == b"two\n"


# --- stdout and pipes --------------------------------------------------------------


@contextmanager
def piped_stdout():
    """Give the reading end of a pipe at descriptor 1."""
    before = os.dup(1)
    reading, writing = os.pipe()
    os.dup2(writing, 1)
    os.close(writing)
    try:
        yield reading
    finally:
        os.dup2(before, 1)
        os.close(before)


def test_a_reader_at_stdout_sees_every_batch(clock):
    with piped_stdout() as reading:
        writer = RecordingWriter("-", clock=clock)
        writer.write(b"one")
        writer.settle()
        assert os.read(reading, 100) == b"one\n"
        writer.reopen()
        writer.write(b"two")
        writer.close()
        assert os.read(reading, 100) == b"two\n"
        os.fstat(1)
        os.close(reading)


def test_a_reader_that_left_is_told_apart(clock):
    with piped_stdout() as reading:
        writer = RecordingWriter("-", clock=clock)
        os.close(reading)
        writer.write(b"one")
        with pytest.raises(BrokenPipeError):
            writer.flush()
        writer.write(b"two")
        writer.close()


# --- what fails -------------------------------------------------------------------


def test_a_file_that_cannot_be_made_is_an_output_error(tmp_path, clock):
    with pytest.raises(OutputError, match=r"cannot write .*nope/x: No such file"):
        RecordingWriter(str(tmp_path / "nope" / "x"), clock=clock)


def test_a_full_device_is_an_output_error_and_said_once(clock):
    writer = RecordingWriter("/dev/full", clock=clock)
    writer.write(b"one")
    with pytest.raises(OutputError, match="cannot write /dev/full: No space left"):
        writer.flush()
    writer.write(b"two")
    writer.close()


@pytest.mark.parametrize(("name", "kept"), [("x", b"one\ntwo\n"), ("x.gz", b"one\n")])
def test_a_full_disk_tears_no_line(tmp_path, clock, name, kept):
    path = tmp_path / name
    writer = RecordingWriter(str(path), clock=clock)
    record(writer, b"one")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 10, hard))
    try:
        writer.write(b"two")
        writer.write(b"x" * 100)
        with pytest.raises(OutputError, match=os.strerror(errno.EFBIG)):
            writer.flush()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    writer.close()
    data = path.read_bytes()
    assert (gzip.decompress(data) if name == "x.gz" else data) == kept


def test_a_name_that_cannot_be_made_free_is_an_output_error(tmp_path, clock):
    (tmp_path / "x").write_text("old\n")
    (tmp_path / "x.1").mkdir()
    with pytest.raises(OutputError, match="Is a directory"):
        RecordingWriter(str(tmp_path / "x"), clock=clock, rotate_size=9, rotate_keep=1)


def test_an_old_file_that_cannot_be_removed_is_an_output_error(tmp_path, clock, zone):
    writer = RecordingWriter(str(tmp_path / "x-%H%M"), clock=clock, rotate_every=60, rotate_keep=1)
    record(writer, b"1")
    clock.now += 60
    record(writer, b"2")
    (tmp_path / "x-1455").unlink()
    (tmp_path / "x-1455").mkdir()
    clock.now += 60
    with pytest.raises(OutputError, match="Is a directory"):
        record(writer, b"3")


def test_a_device_is_never_renamed(clock):
    writer = RecordingWriter("/dev/null", clock=clock, rotate_size=1)
    record(writer, b"one", b"two")
    writer.close()
    assert os.path.exists("/dev/null")  # noqa: PTH110  (a device, not a file of ours)


# --- going on in a file ----------------------------------------------------------


def test_lines_are_added_to_those_that_are_there(tmp_path, clock):
    path = tmp_path / "x"
    for line in (b"one", b"two"):
        writer = RecordingWriter(str(path), clock=clock, append=True)
        record(writer, line)
        writer.close()
    assert path.read_bytes() == b"one\ntwo\n"
    assert names(tmp_path) == ["x"]


def test_a_file_that_breaks_off_inside_a_line_is_renamed(tmp_path, clock):
    path = tmp_path / "x"
    path.write_bytes(b"one\ntw")
    record(RecordingWriter(str(path), clock=clock, append=True), b"three")
    assert path.read_bytes() == b"three\n"
    assert (tmp_path / "x.1").read_bytes() == b"one\ntw"


def test_a_packed_file_that_is_there_is_renamed(tmp_path, clock):
    for line in (b"one", b"two"):
        writer = RecordingWriter(str(tmp_path / "x.gz"), clock=clock, append=True)
        record(writer, line)
        writer.close()
    assert gzip.decompress((tmp_path / "x.gz").read_bytes()) == b"two\n"
    assert gzip.decompress((tmp_path / "x.1.gz").read_bytes()) == b"one\n"


def test_a_file_that_may_only_be_written_is_added_to(tmp_path, clock, monkeypatch):
    path = tmp_path / "x"
    path.write_bytes(b"one")

    def refused(*_):
        raise PermissionError(errno.EACCES, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(type(path), "open", refused)
        record(RecordingWriter(str(path), clock=clock, append=True), b"two")
    assert path.read_bytes() == b"onetwo\n"


def test_lines_can_be_added_to_stdout(clock, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "-").write_bytes(b"no newline")
    with piped_stdout() as reading:
        record(RecordingWriter("-", clock=clock, append=True), b"one")
        assert os.read(reading, 100) == b"one\n"
        os.close(reading)
    assert names(tmp_path) == ["-"]


# --- write_all -------------------------------------------------------------------


def drained(fd):
    """Read everything in another thread; return what joins it and gives the bytes."""
    pieces = []

    def read():
        while piece := os.read(fd, 65536):
            pieces.append(piece)

    thread = threading.Thread(target=read)
    thread.start()

    def result():
        thread.join()
        return b"".join(pieces)

    return result


def test_a_full_non_blocking_pipe_is_waited_for():
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    data = bytes(range(256)) * 4096
    result = drained(reading)
    assert write_all(writing, data) == (len(data), None)
    os.close(writing)
    assert result() == data
    os.close(reading)
