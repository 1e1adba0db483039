import csv
import json
import os
import stat
from contextlib import ExitStack

import pytest

from evtools.errors import OutputError, UsageError
from evtools.text import width
from evtools.top import files
from evtools.top.files import (
    LINES_MAX,
    EventHistory,
    History,
    Recording,
    render_table,
    save,
    usual_file,
)
from evtools.top.model import Model
from evtools.top.options import VIEWS
from evtools.transport.recording.reader import RecordingReader
from tools.clock import FakeClock
from tools.disk import full_disk
from tools.typed import events_of

NOON = 1795176000.0  # 2026-11-20T12:00:00Z
STEM = "evtop-copy-20261120T120000Z"


@pytest.fixture
def clock():
    return FakeClock(NOON)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Have files written where they are removed again."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


# --- new files ----------------------------------------------------------------------------


def test_lines_are_written_into_a_new_file_and_none_is_overwritten(clock, folder):
    (folder / "target").write_text("mine")
    (folder / f"{STEM}-2.txt").symlink_to(folder / "target")
    names = [save(clock, "copy", "txt", ["日本", "\ud800"]) for _ in range(3)]
    assert names == [f"{STEM}.txt", f"{STEM}-3.txt", f"{STEM}-4.txt"]
    assert all((folder / name).read_text() == "日本\n\\ud800\n" for name in names)
    assert (folder / "target").read_text() == "mine"


def test_a_file_that_cannot_be_written_is_one_clear_message(clock, folder, monkeypatch):
    full = os.open("/dev/full", os.O_WRONLY)
    with monkeypatch.context() as patch:
        patch.setattr(files, "open_safely", lambda *_: full)
        with pytest.raises(OutputError, match="No space left"):
            save(clock, "copy", "txt", ["x"])
    for number in range(1, 1000):
        (folder / f"{STEM}{f'-{number}' if number > 1 else ''}.txt").touch()
    with pytest.raises(OutputError, match="too many of that name"):
        save(clock, "copy", "txt", ["x"])
    monkeypatch.setattr(os, "O_CREAT", 0)
    with pytest.raises(OutputError, match=r"cannot write .*\.txt: No such file"):
        save(clock, "gone", "txt", ["x"])
    with pytest.raises(OutputError, match="cannot write"):
        Recording("none/x", clock)


# --- a table as text ----------------------------------------------------------------------


def ended(uuid, result):
    times = {"timestamp": NOON, "local_received": NOON, "runtime": 0.5, "clock": 1, "pid": 1}
    event = {"type": "task-succeeded", "uuid": uuid, "hostname": "w@h", "result": result}
    return event | times


def rendered(output, *events, view="tasks", columns=None):
    model = Model(clock=FakeClock(NOON))
    model.take(events_of(events))
    model.refresh(view, NOON)
    table = model.views[view]
    table.choose_columns(columns)
    lines = list(render_table(table, output))
    # A row that was forgotten meanwhile is left out.
    table.keys = [*table.keys, "forgotten"]
    assert list(render_table(table, output)) == lines
    return lines


def test_a_table_has_a_header_and_aligned_columns_that_are_clipped():
    head, *rows = rendered(
        "table", ended("a", "'x'"), ended("bb", "'日本'"), ended("c", "日" * 5000)
    )
    assert head.split()[:3] == ["STATE", "TASK", "UUID"]
    start = head.index("WORKER")
    assert [row[start : start + 3] for row in rows] == ["w@h"] * 3
    assert all(width(row) < 300 for row in rows)
    [head] = rendered("table")
    assert head.startswith("STATE")


@pytest.mark.parametrize("output", ["table", "csv", "json"])
def test_nothing_can_harm_a_terminal_in_any_view(output):
    for view in VIEWS:
        lines = rendered(output, ended("a\x1b]0;x\x07", "'\x1b[2J\x9b\u202e'\n"), view=view)
        assert all(line.isprintable() for line in lines)
        assert view != "tasks" or len(lines) == 1 + (output != "json")


def test_csv_is_read_back_by_a_reader_of_csv_and_has_no_formulas():
    results = ['say "hi", twice', " blanks ", "plain"]
    formulas = ["=1+1", "+1", "-1", "@x", "\uff1d1"]
    events = [ended(str(n), result) for n, result in enumerate(results + formulas)]
    rows = list(csv.DictReader(rendered("csv", *events)))
    assert {row["outcome"] for row in rows} == {*results, *(f"'{one}" for one in formulas)}
    assert {(row["runtime"], row["queue"]) for row in rows} == {("0.5", "")}


def test_json_has_all_that_is_known_with_its_types():
    [line] = rendered("json", ended("a", "'x'"), columns=["state"])
    row = json.loads(line)
    assert (row["uuid"], row["runtime"], row["state"]) == ("a", 0.5, "SUCCESS")
    assert row["eta"] is None


@pytest.mark.parametrize(("output", "separator"), [("table", None), ("csv", ",")])
def test_the_columns_chosen_are_those_shown(output, separator):
    head, row = rendered(output, ended("a", "'x'"), columns=["uuid", "state", "gone"])
    assert [name.lower() for name in head.split(separator)] == ["uuid", "state"]
    assert row.split(separator) == ["a", "OK"]


# --- recordings ---------------------------------------------------------------------------

EVENTS = [
    {"type": "task-sent", "uuid": "1", "timestamp": 1.0, "local_received": 2.0},
    {"type": "worker-heartbeat", "hostname": "w\x1b@h", "local_received": 3.0},
]


@pytest.mark.parametrize("name", ["x.jsonl", ""])
def test_events_that_were_recorded_can_be_replayed(folder, clock, name):
    recording = Recording(name, clock)
    assert recording.path == (name or "evtop-recording-20261120T120000Z.jsonl")
    recording.write(events_of(EVENTS))
    clock.now += 5
    recording.write([])
    # They are there before the end.
    lines = (folder / recording.path).read_text().splitlines()
    assert [json.loads(line)["type"] for line in lines] == ["task-sent", "worker-heartbeat"]
    recording.close()
    recording.close()
    assert (recording.events, recording.error) == (2, "")
    tape = RecordingReader(recording.path, clock=clock)
    assert [event.as_dict() for batch in tape.events() for event in batch] == EVENTS
    tape.close()


def test_a_line_has_the_fields_of_earlier_events_of_its_task(tmp_path, clock):
    recording = Recording(str(tmp_path / "x.jsonl"), clock)
    recording.write(events_of([{**EVENTS[0], "name": "proj.add"}]))
    (stranger,) = events_of([{"type": "task-failed", "uuid": "1"}])
    stranger.cluster = "eu"
    recording.write([stranger])
    recording.write(events_of([{"type": "task-failed", "uuid": "1"}]))
    recording.close()
    _, other, last = map(json.loads, (tmp_path / "x.jsonl").read_text().splitlines())
    assert (last["name"], last["joined"]) == ("proj.add", ["name", "sent"])
    # In another cluster it is another task.
    assert (other["cluster"], "name" in other) == ("eu", False)


@pytest.mark.parametrize("events", [EVENTS, [{"type": "x", "text": "y" * 70_000}] * 3])
def test_a_full_disk_ends_the_recording_and_nothing_else(clock, events):
    recording = Recording("/dev/full", clock)
    recording.write(events_of(events))
    recording.write([])
    assert "No space left" in recording.error
    written = recording.events
    recording.write(events_of(EVENTS * 9))
    recording.close()
    assert recording.events == written


# --- the events of the evtop before -------------------------------------------------------


@pytest.fixture
def kept(clock):
    """Return what opens a history."""
    with ExitStack() as stack:

        def make(path, *, max_bytes=2**20, origin=("redis://h",)):
            made = EventHistory(str(path), clock, max_bytes=max_bytes, origin=origin)
            stack.callback(made.close)
            return made

        yield make


def beat(received, **fields):
    event = {"type": "worker-heartbeat", "hostname": "w", **fields, "local_received": received}
    return events_of([event])


def seen(history):
    """Return when the events of the evtop before came, and what is said about them."""
    events = [event for batch in history.events() for event in batch]
    return [event.local_received for event in events], [each.text for each in history.news()]


def test_the_next_evtop_begins_with_the_events_of_this_one_and_a_gap(tmp_path, kept):
    path = tmp_path / "h%F.jsonl"
    history = kept(path)
    assert seen(history) == ([], [])
    for received in (10.0, 11.0):
        history.write(beat(received))
    # It is killed while it writes half a line.
    with path.open("ab") as file:
        file.write(b'{"v":1,"ts"')
    assert [stat.S_IMODE(each.stat().st_mode) for each in tmp_path.iterdir()] == [0o600] * 2
    history._lock.close()
    history = kept(path)
    assert seen(history) == ([10.0, 11.0], [f"2 events since 1970-01-01 00:00 are from {path}"])
    [hole, event] = history.write(beat(15.0))
    assert (hole.reason, hole.duration, event.local_received) == ("stopped", 4.0, 15.0)
    assert len(history.write(beat(16.0))) == 1
    history.close()
    assert seen(kept(path))[0] == [10.0, 11.0, 15.0, 15.0, 16.0]


def test_each_cluster_has_a_gap_of_its_own(tmp_path, kept):
    def of(name, received):
        [event] = beat(received)
        event.cluster = name
        return [event]

    history = kept(tmp_path / "h")
    for name in ("eu", "us"):
        history.write(of(name, 10.0))
    history.close()
    history = kept(tmp_path / "h")
    seen(history)
    for name in ("us", "eu"):
        assert [(e.cluster, e.is_gap) for e in history.write(of(name, 12.0))] == [
            (name, True), (name, False),
        ]  # fmt: skip


def test_a_history_is_bounded_and_its_oldest_events_go_first(tmp_path, kept):
    history = kept(tmp_path / "h", max_bytes=40_000)
    for number in range(1000):
        history.write(beat(float(number), text="x" * 100))
        assert sum(each.stat().st_size for each in tmp_path.iterdir()) < 41_000
    history.close()
    times, _ = seen(kept(tmp_path / "h", max_bytes=40_000))
    assert times == [float(number) for number in range(1000 - len(times), 1000)]
    assert sum(each.stat().st_size for each in tmp_path.iterdir()) > 30_000


def test_a_full_disk_is_said_once_and_what_is_missing_is_in_its_place(tmp_path, kept, clock):
    history = kept(tmp_path / "h")
    history.write(beat(1.0))
    with full_disk((tmp_path / "h").stat().st_size + 20):
        for received in (2.0, 3.0, 4.0):
            history.write(beat(received))
            clock.now += 4
    assert [each.text for each in history.news()] == [
        f"cannot write {tmp_path / 'h'}: File too large; evtop goes on, and tries again"
    ]
    assert history.error
    clock.now += 4
    history.write(beat(9.0))
    assert [each.text for each in history.news()] == [
        f"{tmp_path / 'h'} is written again; 3 events are missing in it"
    ]
    assert not history.error
    history.close()
    lines = [json.loads(line) for line in (tmp_path / "h").read_text().splitlines()]
    assert [line["local_received"] for line in lines] == [1.0, 9.0, 9.0]
    assert (lines[1]["from"], lines[1]["to"], lines[1]["lost"]) == (2.0, 9.0, 3)


def test_of_two_evtops_the_second_one_reads_only(tmp_path, kept):
    first = kept(tmp_path / "h")
    first.write(beat(1.0))
    second = kept(tmp_path / "h")
    times, said = seen(second)
    assert times == [1.0]
    assert said[-1].startswith(f"another evtop ({os.getpid()}) writes {tmp_path / 'h'}: ")
    second.write(beat(2.0))
    second.close()
    first.close()
    assert seen(kept(tmp_path / "h"))[0] == [1.0]


def spoilt(path, kept, how):
    match how:
        case "notes":
            path.write_text("precious notes")
        case "link":
            path.symlink_to(path.with_name("target"))
        case "pipe":
            os.mkfifo(path)
        case "folder":
            path.mkdir()
        case "others":
            history = kept(path, origin=["amqp://x"])
            history.write(beat(1.0))
            history.close()


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("notes", "{path} is no history of evtop"),
        ("link", "cannot write {path}: it is a symbolic link"),
        ("pipe", "cannot write {path}: "),
        ("folder", "cannot write {path}: "),
        ("others", "{path} is the history of amqp://x, not of redis://h"),
    ],
)
def test_a_file_of_something_else_is_left_as_it_is(tmp_path, kept, how, message):
    path = tmp_path / "h"
    spoilt(path, kept, how)
    before = path.read_bytes() if path.is_file() else None
    with pytest.raises(UsageError) as caught:
        kept(path)
    assert caught.value.message.startswith(message.format(path=path))
    assert before is None or path.read_bytes() == before
    with pytest.raises(UsageError, match="neither compressed nor"):
        kept(tmp_path / "h.gz")


def test_lines_that_cannot_be_read_are_counted(tmp_path, kept):
    (tmp_path / "h").write_text('{"v":1,"type":"a","local_received":1.0}\n{"v":nonsense\n')
    history = kept(tmp_path / "h")
    assert seen(history) == ([1.0], [f"{tmp_path / 'h'}: 1 lines of it cannot be read"])


# --- the history --------------------------------------------------------------------------


@pytest.fixture
def path(tmp_path):
    return tmp_path / "state" / "evtools" / "history.json"


def remembered(path):
    """Keep a line and a filter; return the history."""
    history = History(path)
    history.remember("filter", "state:fail")
    history.save("bad", "state:fail,retry")
    return history


def test_a_history_has_each_line_once_newest_last_and_is_bounded():
    history = History()
    for text in ("a", "b", "a", ""):
        history.remember("filter", text)
    assert history.lines("filter") == ["b", "a"]
    for number in range(2 * LINES_MAX):
        history.remember("filter", str(number))
    assert len(history.lines("filter")) == LINES_MAX
    history.keep()


def test_the_next_session_has_the_lines_and_filters_of_this_one(path):
    history = History(path)
    history.keep()
    assert not path.exists()
    history.remember("search", "Traceback")
    history.remember("command", "view workers")
    history.keep()
    history.remember("seek", "lost")
    later = History(path)
    assert [later.lines(kind) for kind in ("search", "seek")] == [["Traceback"], []]
    for number in range(LINES_MAX + 1):
        later.save(f"n{number}", "a")
    later.save("n1", "b")
    saved = History(path).saved
    assert len(saved) == LINES_MAX
    assert "n0" not in saved
    assert list(saved.items())[-1] == ("n1", "b")


def test_sessions_at_the_same_time_lose_nothing_of_each_other(path):
    one, other = History(path), History(path)
    one.remember("filter", "a")
    other.remember("filter", "b")
    other.save("mine", "b")
    for _ in range(2):
        one.keep()
        assert History(path).lines("filter") == ["b", "a"]
    assert History(path).saved == {"mine": "b"}


def test_a_shorter_history_leaves_nothing_of_a_longer_file(path):
    remembered(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    path.write_text(path.read_text() + " " * 9999)
    history = History(path)
    history.remember("filter", "x")
    history.keep()
    assert json.loads(path.read_text())["typed"]["filter"] == ["state:fail", "x"]
    assert path.stat().st_size < 9999


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no json",
        b"[" * 100_000,
        b"[1]",
        b"null",
        b'{"typed": [], "saved": 7}',
        b'{"typed": {"filter": {"a": 1}}, "saved": {"a": 1, "": "x"}}',
        b'{"typed": {"filter": [1, null, "", "\\u001b[2J"], "other": ["a"]}}',
        json.dumps({"saved": {"long": "x" * 5000, "e\x1b": "x"}}).encode(),
        b"\xff\xfe",
    ],
)
def test_whatever_is_in_the_file_does_no_harm(path, content):
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    history = History(path)
    assert (history.saved, history.lines("filter")) == ({}, [])
    remembered(path)
    assert History(path).lines("filter") == ["state:fail"]


def test_only_a_file_of_this_user_is_used_and_never_through_a_link(path, tmp_path, monkeypatch):
    target = tmp_path / "precious"
    target.write_text("precious")
    path.parent.mkdir(parents=True)
    path.symlink_to(target)
    remembered(path)
    assert target.read_text() == "precious"
    path.unlink()
    os.mkfifo(path)
    remembered(path)
    path.unlink()
    assert remembered(tmp_path / "precious" / "history.json").saved
    remembered(path)
    before = path.read_bytes()
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    history = History(path)
    assert history.saved == {}
    history.save("other", "x")
    assert path.read_bytes() == before
    assert history.saved == {"other": "x"}


@pytest.mark.parametrize(
    ("environ", "file"),
    [
        ({"HOME": "/h"}, "/h/.local/state/evtools/evtop-history.json"),
        ({"HOME": "/h", "XDG_STATE_HOME": "/s"}, "/s/evtools/evtop-history.json"),
        ({"HOME": ""}, "None"),
        ({}, "None"),
    ],
)
def test_it_is_where_xdg_has_it(environ, file):
    assert str(usual_file(environ)) == file
