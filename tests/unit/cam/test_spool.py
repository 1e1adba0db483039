"""A spool on real files: order, bounds, and what is left after faults of any kind."""

import os
import resource
import stat
import subprocess
import sys
from contextlib import contextmanager

import pytest

from evtools.cam.spool import EVENTS, GAPS, Loss, Record, Spool
from evtools.errors import OutputError

MEBIBYTE = 1024 * 1024
#: Of a line, so that a segment of a spool of 1 MiB has about 64 of them.
LINE = 1000


@pytest.fixture
def opened(tmp_path):
    made = []

    def opened(max_bytes=MEBIBYTE, max_waiting=MEBIBYTE, folder="spool"):
        # The end of a process writes nothing, whatever ends it.
        for earlier in made:
            earlier.close()
        spool = Spool(tmp_path / folder, max_bytes=max_bytes, max_waiting=max_waiting)
        made.append(spool)
        spool.open()
        return spool

    yield opened
    for each in made:
        each.close()


def line(number):
    return Record(EVENTS, f"{number} ".encode().ljust(LINE - 1, b"x") + b"\n", 1, number, number)


def fill(spool, start, stop):
    return [spool.append(line(number)) for number in range(start, stop)][-1]


def piece_of(spool, events=20):
    return spool.read(spool.end, max_events=events, max_bytes=MEBIBYTE)


def numbers(piece):
    return [int(each.data.split()[0]) for each in piece.records if each.kind == EVENTS]


def drained(spool):
    """Store all of it; return the numbers in order."""
    found = []
    while (piece := piece_of(spool)) is not None:
        assert spool.begin(piece)
        found += numbers(piece)
        spool.acknowledge(piece)
    return found


def files(spool):
    return sorted(path for path in spool.folder.iterdir() if path.name[0].isdigit())


def test_what_is_not_stored_comes_after_a_restart_in_order(opened):
    spool = opened()
    assert spool.last is None
    fill(spool, 0, 300)
    piece = piece_of(spool)
    spool.begin(piece)
    spool.acknowledge(piece)
    assert (numbers(piece), spool.waiting) == ([*range(20)], 280)
    spool = opened()
    assert (spool.last, spool.waiting, spool.take_losses()) == (299, 280, [])
    fill(spool, 300, 310)
    assert drained(spool) == [*range(20, 310)]
    assert spool.waiting == 0
    assert drained(opened()) == []


def test_what_was_tried_comes_again_as_it_was_whatever_came_since(opened):
    spool = opened()
    fill(spool, 0, 75)
    for _ in range(3):
        spool.acknowledge(piece_of(spool))
    tried = piece_of(spool, events=6)
    assert spool.begin(tried)
    fill(spool, 75, 100)
    again = piece_of(opened(), events=50)
    assert (again.token, again.records) == (tried.token, tried.records)
    spool = opened()
    spool.acknowledge(piece_of(spool))
    following = piece_of(spool, events=50)
    assert numbers(following) == [*range(66, 100)]
    assert following.token != tried.token
    # Not even where the one before begins in the same place.
    assert piece_of(opened(folder="other")) is None


def test_gap_records_are_no_events_and_are_found_until_they_are_stored(opened):
    spool = opened()
    fill(spool, 0, 3)
    spool.append(Record(GAPS, b"a gap\n", 0, 5.0, 6.0), line(3))
    spool = opened()
    assert (spool.gaps, spool.waiting) == ([b"a gap\n"], 4)
    assert drained(spool) == [*range(4)]
    spool = opened()
    assert (spool.gaps, spool.last) == ([], 6.0)


def test_a_full_spool_drops_its_oldest_segment_and_says_what_that_was(opened, log):
    spool = opened()
    assert fill(spool, 0, 1500)
    assert sum(path.stat().st_size for path in files(spool)) == spool.bytes <= MEBIBYTE
    losses = spool.take_losses()
    lost = sum(loss.events for loss in losses)
    assert losses[0].first == 0
    assert losses[-1].last == lost - 1
    assert spool.dropped == lost
    assert spool.waiting == 1500 - lost
    first, *others = [text for text in log() if "is full: of the events in it the oldest" in text]
    assert first.endswith("the oldest 62 were dropped")
    assert len(others) < 6
    assert drained(opened()) == [*range(lost, 1500)]


def test_what_is_being_stored_is_not_dropped_but_what_is_behind_it(opened):
    spool = opened()
    fill(spool, 0, 900)
    tried = piece_of(spool, events=200)
    spool.begin(tried)
    fill(spool, 900, 1300)
    ranges = [range(int(loss.first), int(loss.last) + 1) for loss in spool.take_losses()]
    dropped = {number for each in ranges for number in each}
    assert dropped
    assert dropped.isdisjoint(numbers(tried))
    spool.acknowledge(tried)
    assert {*drained(spool)} == {*range(200, 1300)} - dropped
    assert spool.take_losses() == []


def test_what_was_tried_in_vain_may_go_and_is_then_not_the_next_any_more(opened):
    spool = opened()
    fill(spool, 0, 100)
    tried = piece_of(spool)
    spool.begin(tried)
    spool.fail()
    fill(spool, 100, 1500)
    assert not spool.begin(tried)
    lost = sum(loss.events for loss in spool.take_losses())
    assert drained(spool) == [*range(lost, 1500)]


def test_stored_segments_go_but_the_last_ones_stay_to_be_compared(opened):
    spool = opened()
    fill(spool, 0, 500)
    before = len(files(spool))
    drained(spool)
    assert len(files(spool)) == 5 < before
    newest = [int(data.split()[0]) for data in spool.newest()]
    assert newest == [*range(newest[0], 500)]
    assert len(newest) > 100


def test_of_one_folder_there_is_one_evcam_and_the_other_says_which(opened, tmp_path):
    spool = opened()
    other = Spool(spool.folder, max_bytes=MEBIBYTE, max_waiting=0)
    other.check()
    with pytest.raises(OutputError, match=f"evcam process {os.getpid()} uses the spool") as raised:
        other.open()
    assert raised.value.hint == "give each evcam a spool of its own"
    assert not other.is_open


# --- faults ---------------------------------------------------------------------------


@pytest.mark.parametrize("missing", [1, LINE // 2, LINE, LINE + 30])
def test_a_torn_end_is_cut_off_and_counted_as_far_as_it_says_what_it_was(opened, log, missing):
    spool = opened()
    fill(spool, 0, 10)
    spool.close()
    [path] = files(spool)
    os.truncate(path, path.stat().st_size - missing)
    spool = opened()
    known = [Loss(1, 9, 9)] if missing <= LINE else []
    assert spool.take_losses() == known
    [text] = [text for text in log() if "its end was torn" in text]
    assert "bytes are cut off" in text
    fill(spool, 9, 12)
    assert drained(spool) == [*range(12)]


@pytest.mark.parametrize("where", ["data", "head", "between"])
@pytest.mark.parametrize("place", ["first", "middle", "last"])
def test_what_is_damaged_is_left_out_counted_and_said(opened, log, where, place):
    spool = opened()
    fill(spool, 0, 200)
    spool.close()
    [path, *_] = files(spool)
    data = bytearray(path.read_bytes())
    heads = [at for at in range(len(data)) if data.startswith(b"\xfaREC", at)]
    number = {"first": 0, "middle": len(heads) // 2, "last": len(heads) - 1}[place]
    at = heads[number] + {"data": 100, "head": 0, "between": 7}[where]
    data[at] ^= 0xFF
    path.write_bytes(data)
    spool = opened()
    assert drained(spool) == [n for n in range(200) if n != number]
    losses = spool.take_losses()
    assert [loss.events for loss in losses] == [1]
    assert any("is damaged: 1 events in it cannot be read" in text for text in log())
    fill(spool, 200, 201)
    assert drained(spool) == [200]


def of_another_version(path):
    data = bytearray(path.read_bytes())
    data[9] = 2
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("change", "aside", "said"),
    [
        (of_another_version, ".log.version-2", "is of another version: it is put aside"),
        (lambda path: path.write_bytes(b"?" * 99), ".log.damaged", "is damaged (99 bytes)"),
        (lambda path: path.write_bytes(b""), "", ""),
        (lambda path: path.unlink(), "", ""),
    ],
    ids=["version", "beginning", "empty", "removed"],
)
@pytest.mark.parametrize("index", [0, 1, -1])
def test_a_segment_that_cannot_be_used_is_put_aside_and_the_others_are_read(
    opened, log, change, aside, said, index
):
    spool = opened()
    fill(spool, 0, 200)
    spool.close()
    path = files(spool)[index]
    change(path)
    spool = opened()
    fill(spool, 200, 210)
    found = drained(spool)
    assert found == sorted({*found})
    assert 100 < len(found) < 210
    assert found[-1] == 209
    if aside:
        assert path.with_name(path.name.removesuffix(".log") + aside).exists()
        assert any(said in text for text in log())


@contextmanager
def files_of_at_most(size):
    """Let no file of this process become longer."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_on_a_full_disk_events_wait_in_memory_and_go_on_when_there_is_room(opened, log):
    spool = opened(max_waiting=20 * LINE)
    fill(spool, 0, 5)
    with files_of_at_most(10 * LINE):
        assert not fill(spool, 5, 20)
        assert (spool.take_losses(), spool.waiting) == ([], 20)
        # What is stored can be noted all the same.
        spool.begin(first := piece_of(spool))
        spool.acknowledge(first)
        assert numbers(first) == [*range(9)]
    assert fill(spool, 20, 21)
    assert drained(spool) == [*range(9, 21)]
    texts = [text for text in log() if "spool" in text]
    assert len(texts) == 2
    assert "File too large: events wait in memory until it can be" in texts[0]
    assert texts[1].endswith("can be written again")


def test_beyond_its_memory_a_spool_on_a_full_disk_drops_the_oldest(opened, log):
    spool = opened(max_waiting=20 * LINE)
    with files_of_at_most(100):
        assert not fill(spool, 0, 50)
        spool.close()  # nothing of it can be kept
        spool = opened(max_waiting=20 * LINE)
        assert not fill(spool, 50, 100)
        assert sum(loss.events for loss in spool.take_losses()) == 30
    assert spool.append()
    assert drained(spool) == [*range(80, 100)]
    assert any("too many events wait for room" in text for text in log())


def test_on_a_full_disk_what_is_stored_gives_its_room_back(opened, log):
    spool = opened()
    with files_of_at_most(10 * LINE):
        assert not fill(spool, 0, 12)
        assert drained(spool) == [*range(9)]
        # All of the file is stored, so that another can take its place.
        assert spool.append()
        assert drained(spool) == [9, 10, 11]
        assert not fill(spool, 12, 30)
        spool.close()
    assert any("12 events are lost: there was no room" in text for text in log())
    assert drained(opened()) == [*range(12, 18)]


def test_what_is_stored_is_written_again_if_it_is_not_known(opened, log):
    spool = opened()
    fill(spool, 0, 30)
    spool.acknowledge(piece_of(spool))
    spool.close()
    (spool.folder / "stored").write_bytes(b"?" * 256)
    spool = opened()
    assert any("is not known: all of it is written again" in text for text in log())
    assert drained(spool) == [*range(30)]


def test_of_two_notes_of_what_is_stored_a_torn_one_does_no_harm(opened):
    spool = opened()
    fill(spool, 0, 60)
    for _ in range(2):
        piece = piece_of(spool)
        spool.begin(piece)
        spool.acknowledge(piece)
    spool.close()
    with (spool.folder / "stored").open("r+b") as file:
        file.write(b"?" * 20)  # the newer one
    assert piece_of(opened()).start.event == 20


# --- whose it is ----------------------------------------------------------------------


def test_it_is_for_its_user_alone(opened):
    spool = opened()
    fill(spool, 0, 1)
    modes = {stat.S_IMODE(path.stat().st_mode) for path in spool.folder.iterdir()}
    assert (stat.S_IMODE(spool.folder.stat().st_mode), modes) == (0o700, {0o600})


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda folder: folder.chmod(0o777), "others can write it|others than root can write"),
        (lambda folder: (folder / "lock").symlink_to("/etc/hosts"), "symbolic link"),
        (lambda folder: (folder.rmdir(), folder.write_text("")), "it is no directory"),
    ],
    ids=["mode", "link", "file"],
)
def test_a_folder_that_others_could_use_is_refused(opened, tmp_path, change, said):
    folder = tmp_path / "spool"
    folder.mkdir(mode=0o700)
    change(folder)
    with pytest.raises(OutputError, match=said):
        opened()


def test_a_folder_that_was_moved_away_is_begun_anew(opened, log, tmp_path):
    spool = opened()
    fill(spool, 0, 5)
    spool.reopen()
    assert log() == []
    spool.folder.rename(tmp_path / "old")
    spool.reopen()
    assert any("was moved away, with 5 events" in text for text in log())
    fill(spool, 5, 10)
    assert drained(spool) == [*range(5, 10)]


def test_a_process_that_is_killed_while_it_writes_loses_nothing_it_has_written(tmp_path, opened):
    program = (
        "import sys, pathlib; from evtools.cam.spool import *\n"
        "spool = Spool(pathlib.Path(sys.argv[1]), max_bytes=2**30, max_waiting=0)\n"
        "spool.open(); number = 0\n"
        "while True:\n"
        "    spool.append(Record(EVENTS, b'%d \\n' % number, 1, number, number))\n"
        "    number += 1; print(number, flush=True)\n"
    )
    words = [sys.executable, "-c", program, str(tmp_path / "spool")]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        for text in process.stdout:
            if int(text) >= 2000:
                break
        process.kill()
        said = int(text)
    found = drained(opened())
    assert found == [*range(len(found))]
    assert len(found) >= said
