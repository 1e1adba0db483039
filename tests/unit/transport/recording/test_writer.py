"""Recordings on disk: packed, rotated, moved away, cut off by a full disk."""

import errno
import gzip
import os
import stat
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import zstandard

from evtools.errors import OutputError
from evtools.transport import recording
from evtools.transport.recording import RecordingWriter, RotateCommand, write_all
from servers.process import wait_until
from tools.clock import FakeClock
from tools.disk import full_disk


@pytest.fixture
def clock():
    return FakeClock(1795186532.0)


@pytest.fixture
def zone(in_zone):
    in_zone("UTC")


@pytest.fixture
def writer_of(tmp_path, clock):
    """Make the writer of a file."""
    writers = []

    def make(name="x", **settings):
        writers.append(RecordingWriter(str(tmp_path / name), clock=clock, **settings))
        return writers[-1]

    yield make
    for writer in writers:
        writer.close()
        writer.close()


def record(writer, *lines):
    for line in lines:
        writer.write(line)
        writer.flush()


def contents(folder):
    return {path.name: path.read_text() for path in sorted(folder.iterdir())}


def test_lines_are_written_with_their_ends_in_place_of_what_was_there(tmp_path, writer_of):
    (tmp_path / "x").write_text("old\n")
    writer = writer_of()
    writer.write(b"one")
    writer.write(b"two")
    writer.close()
    assert contents(tmp_path) == {"x": "one\ntwo\n"}


def test_the_umask_decides_who_may_read(tmp_path, writer_of):
    before = os.umask(0o027)
    writer_of()
    os.umask(before)
    assert stat.S_IMODE((tmp_path / "x").stat().st_mode) == 0o640


def test_a_recording_is_let_out_after_a_second_or_when_enough_has_come(tmp_path, clock, writer_of):
    writer, path = writer_of(), tmp_path / "x"
    writer.write(b"x" * 1023)
    writer.settle()
    assert path.stat().st_size == 0
    clock.now += 1
    writer.settle()
    assert path.stat().st_size == 1024
    for _ in range(70):
        writer.write(b"x" * 1023)
    assert path.stat().st_size == 65 * 1024
    writer.close()
    assert path.stat().st_size == 71 * 1024


def unpack_zstd(data):
    return zstandard.ZstdDecompressor().stream_reader(data, read_across_frames=True).read()


@pytest.mark.parametrize(("name", "unpack"), [("x.gz", gzip.decompress), ("x.zst", unpack_zstd)])
def test_a_packed_recording_is_readable_up_to_the_last_flush(tmp_path, writer_of, name, unpack):
    writer = writer_of(name)
    record(writer, b"one")
    assert unpack((tmp_path / name).read_bytes()) == b"one\n"
    writer.write(b"two")
    writer.close()
    assert unpack((tmp_path / name).read_bytes()) == b"one\ntwo\n"


# --- rotation ---------------------------------------------------------------------


def test_a_file_is_rotated_before_it_grows_too_large(tmp_path, writer_of):
    record(writer_of(rotate_size=8), b"one", b"two", b"three", b"four-is-longer", b"5", b"6")
    assert contents(tmp_path) == {
        "x": "5\n6\n",
        "x.1": "four-is-longer\n",
        "x.2": "three\n",
        "x.3": "one\ntwo\n",
    }


@pytest.mark.parametrize("keep", [1, 2])
def test_only_so_many_older_files_are_kept(tmp_path, writer_of, keep):
    record(writer_of(rotate_size=1, rotate_keep=keep), b"1", b"2", b"3", b"4", b"5")
    kept = [("x", "5\n"), ("x.1", "4\n"), ("x.2", "3\n")]
    assert contents(tmp_path) == dict(kept[: keep + 1])


def test_a_file_is_rotated_when_it_is_old_enough_and_not_empty(tmp_path, clock, writer_of):
    writer = writer_of(rotate_every=60)
    clock.now += 61
    writer.settle()
    assert contents(tmp_path) == {"x": ""}
    clock.now += 59
    record(writer, b"one")
    assert contents(tmp_path) == {"x": "one\n"}
    clock.now += 1
    writer.settle()
    assert contents(tmp_path) == {"x": "", "x.1": "one\n"}


def test_every_period_has_a_file_of_its_name(tmp_path, clock, zone, writer_of):
    writer = writer_of("x-%H%M", rotate_every=60, rotate_keep=2)
    (tmp_path / "x-1400").write_text("of somebody else\n")
    for line in (b"1", b"2", b"3", b"4"):
        record(writer, line)
        clock.now += 60
    record(writer, b"5")
    kept = {"x-1457": "3\n", "x-1458": "4\n", "x-1459": "5\n"}
    assert contents(tmp_path) == {"x-1400": "of somebody else\n", **kept}


def test_an_empty_file_of_a_period_without_events_is_removed(tmp_path, clock, zone, writer_of):
    writer = writer_of("x-%H%M", rotate_every=60)
    clock.now += 600
    record(writer, b"one")
    assert contents(tmp_path) == {"x-1505": "one\n"}


def test_with_rotation_nothing_that_exists_is_overwritten(tmp_path, writer_of):
    (tmp_path / "x").write_text("of the last run\n")
    record(writer_of(rotate_size=1000), b"one")
    assert contents(tmp_path) == {"x": "one\n", "x.1": "of the last run\n"}


def test_a_device_is_never_renamed(writer_of):
    record(writer_of("/dev/null", rotate_size=1), b"one", b"two")
    assert os.path.exists("/dev/null")  # noqa: PTH110  (a device, not a file of ours)


# --- what is run on finished files --------------------------------------------------


@pytest.fixture
def finished(tmp_path, writer_of):
    """Make the writer of files of a line each, and what runs `words` on each of them."""
    commands = []
    (tmp_path / "done").mkdir()

    def make(*words, name="x", **settings):
        commands.append(RotateCommand(words))
        return writer_of(name, rotate_size=1, command=commands[-1], **settings), commands[-1]

    yield make
    for command in commands:
        command.close()


@pytest.mark.parametrize("words", [("mv", "-t", "done"), ("sh", "-c", 'mv "$1" done', "_", "{}")])
def test_a_program_is_run_on_each_finished_file_the_last_one_included(
    tmp_path, monkeypatch, finished, words
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.1").write_text("here before")
    writer, command = finished(*words)
    record(writer, b"1", b"2", b"3")
    writer.close()
    command.close()
    assert contents(tmp_path / "done") == {"x": "1\n", "x.2": "2\n", "x.3": "3\n"}
    assert (tmp_path / "x.1").read_text() == "here before"


def test_a_slow_program_holds_up_nothing_and_its_file_is_neither_renamed_nor_removed(
    tmp_path, finished
):
    names = ["x", "x.1", "x.2", "x.3"]
    for name in names:
        os.mkfifo(tmp_path / f"{name}.gate")
    script = 'read word < "$2.gate"; cat "$2" >> "$1"'
    writer, command = finished("sh", "-c", script, "_", str(tmp_path / "all"), rotate_keep=1)
    record(writer, b"1", b"2", b"3", b"4")
    writer.close()
    assert set(names) <= {path.name for path in tmp_path.iterdir()}
    with ThreadPoolExecutor(1) as pool:
        closing = pool.submit(command.close)
        for name in names:
            (tmp_path / f"{name}.gate").write_text("go\n")
        closing.result()
    # One at a time, in their order; then the newest of the older files is left.
    assert (tmp_path / "all").read_text() == "1\n2\n3\n4\n"
    assert {path.name for path in tmp_path.iterdir()} & set(names) == {"x.2", "x.3"}


@pytest.mark.parametrize(("words", "told"), [
    (("/no/such/program",), ["No such file"] * 3), (("false",), ["exit status 1"] * 3),
    (("sh", "-c", "echo disk\x1b full; kill $$"), ["ended by signal 15: disk\x1b full"] * 3),
    # It hangs: the first is ended, the others are named.
    (("sleep", "600", "{}"), ["killed", "not run on {0}.1, {0}.2"]),
])  # fmt: skip
def test_a_program_that_fails_or_hangs_is_in_the_log(
    tmp_path, finished, monkeypatch, caplog, words, told
):
    begun = tmp_path / "done" / "begun"
    hangs = words[0] == "sleep"
    if hangs:
        words = ("sh", "-c", f"touch {begun}; sleep 600", "_")
        monkeypatch.setattr(recording, "_END_SECONDS", 0.1)
    writer, command = finished(*words)
    record(writer, b"1", b"2", b"3")
    writer.close()
    wait_until(lambda: begun.exists() or not hangs, what="the program")
    command.close()
    messages = [each.getMessage() for each in caplog.records]
    assert len(messages) == len(told)
    for message, words in zip(sorted(messages, key=lambda m: "not run" in m), told, strict=True):
        assert words.format(tmp_path / "x") in message
    assert len(contents_of(tmp_path)) == 3


def contents_of(folder):
    return [path for path in folder.iterdir() if path.is_file()]


# --- logrotate --------------------------------------------------------------------


def test_a_recording_that_was_copied_and_truncated_goes_on(tmp_path, writer_of):
    writer = writer_of()
    record(writer, b"one")
    os.truncate(tmp_path / "x", 0)
    record(writer, b"two")
    assert contents(tmp_path) == {"x": "two\n"}


# --- stdout and pipes --------------------------------------------------------------


def test_a_reader_at_stdout_sees_every_batch(clock, piped, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "-").write_bytes(b"no newline")
    with piped(1) as reading:
        writer = RecordingWriter("-", clock=clock, append=True)
        writer.write(b"one")
        writer.settle()
        assert os.read(reading, 100) == b"one\n"
        writer.reopen()
        writer.write(b"two")
        writer.close()
        assert os.read(reading, 100) == b"two\n"
        os.fstat(1)
        os.close(reading)
    assert contents(tmp_path) == {"-": "no newline"}


def test_a_reader_that_left_is_told_apart(clock, piped):
    with piped(1) as reading:
        writer = RecordingWriter("-", clock=clock)
        os.close(reading)
        writer.write(b"one")
        with pytest.raises(BrokenPipeError):
            writer.flush()
        writer.write(b"two")
        writer.close()


# --- what fails -------------------------------------------------------------------


def test_a_file_that_cannot_be_made_is_an_output_error(writer_of):
    with pytest.raises(OutputError, match=r"cannot write .*nope/x: No such file"):
        writer_of("nope/x")


@pytest.mark.parametrize(("name", "kept"), [("x", b"one\ntwo\n"), ("x.gz", b"one\n")])
def test_a_full_disk_tears_no_line(tmp_path, writer_of, name, kept):
    path, writer = tmp_path / name, writer_of(name)
    record(writer, b"one")
    with full_disk(path.stat().st_size + 10):
        writer.write(b"two")
        writer.write(b"x" * 100)
        with pytest.raises(OutputError, match=os.strerror(errno.EFBIG)):
            writer.flush()
    writer.close()
    data = path.read_bytes()
    assert (gzip.decompress(data) if name == "x.gz" else data) == kept


def test_a_name_that_cannot_be_made_free_is_an_output_error(tmp_path, clock, zone, writer_of):
    (tmp_path / "x").write_text("old\n")
    (tmp_path / "x.1").mkdir()
    with pytest.raises(OutputError, match="Is a directory"):
        writer_of(rotate_size=9, rotate_keep=1)
    writer = writer_of("x-%H%M", rotate_every=60, rotate_keep=1)
    record(writer, b"1")
    clock.now += 60
    record(writer, b"2")
    (tmp_path / "x-1455").unlink()
    (tmp_path / "x-1455").mkdir()
    clock.now += 60
    with pytest.raises(OutputError, match="Is a directory"):
        record(writer, b"3")


# --- going on in a file ----------------------------------------------------------


# fmt: off
APPENDED = [
    ("x", b"one\n", {"x": b"one\ntwo\n"}),
    ("x", b"on", {"x": b"two\n", "x.1": b"on"}),
    ("x.gz", gzip.compress(b"one\n", mtime=0), {"x.gz": b"two\n", "x.1.gz": b"one\n"}),
]
# fmt: on


@pytest.mark.parametrize(("name", "before", "after"), APPENDED)
def test_only_whole_plain_files_are_added_to_others_are_renamed(
    tmp_path, writer_of, name, before, after
):
    (tmp_path / name).write_bytes(before)
    record(writer_of(name, append=True), b"two")
    found = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    if name == "x.gz":
        found = {one: gzip.decompress(data) for one, data in found.items()}
    assert found == after


def test_a_file_that_may_only_be_written_is_added_to(tmp_path, writer_of, monkeypatch):
    path = tmp_path / "x"
    path.write_bytes(b"one")

    def refused(*_):
        raise PermissionError(errno.EACCES, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(type(path), "open", refused)
        record(writer_of(append=True), b"two")
    assert contents(tmp_path) == {"x": "onetwo\n"}


# --- write_all -------------------------------------------------------------------


def test_a_full_non_blocking_pipe_is_waited_for():
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    data, pieces = bytes(range(256)) * 4096, []

    def drain():
        while piece := os.read(reading, 65536):
            pieces.append(piece)

    thread = threading.Thread(target=drain)
    thread.start()
    assert write_all(writing, data) == (len(data), None)
    os.close(writing)
    thread.join()
    assert b"".join(pieces) == data
    os.close(reading)
