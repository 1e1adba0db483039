import csv
import json
import os

import pytest

from evtools.errors import OutputError
from evtools.text import width
from evtools.top import export
from evtools.top.export import Recording, new_recording, render_table, save
from evtools.top.model import Model
from evtools.transport.recording.reader import RecordingReader
from tools.clock import FakeClock
from tools.typed import events_of

NOON = 1795176000.0  # 2026-11-20T12:00:00Z


@pytest.fixture
def clock():
    return FakeClock(NOON)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Have files written where they are removed again."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def ended(uuid, result, **fields):
    return {
        "type": "task-succeeded",
        "uuid": uuid,
        "hostname": "w@h",
        "result": result,
        "runtime": 0.5,
        "timestamp": NOON,
        "local_received": NOON,
        "clock": 1,
        "pid": 1,
        **fields,
    }


@pytest.fixture
def table_of():
    def make(*events, view="tasks", columns=None):
        model = Model(clock=FakeClock(NOON))
        model.take(events_of(events))
        model.refresh(view, NOON)
        table = model.views[view]
        table.choose_columns(columns)
        return table

    return make


# --- files ------------------------------------------------------------------------


def test_lines_are_written_into_a_new_file_and_none_is_overwritten(clock, folder):
    (folder / "target").write_text("mine")
    (folder / "evtop-copy-20261120T120000Z-2.txt").symlink_to(folder / "target")
    names = [save(clock, "copy", "txt", ["日本", "\ud800"]) for _ in range(3)]
    stem = "evtop-copy-20261120T120000Z"
    assert names == [f"{stem}.txt", f"{stem}-3.txt", f"{stem}-4.txt"]
    assert all((folder / name).read_text() == "日本\n\\ud800\n" for name in names)
    assert (folder / "target").read_text() == "mine"


def test_a_recording_gets_a_name_as_well(clock, folder):
    recording = new_recording(clock)
    recording.write(events_of([{"type": "x"}]))
    recording.close()
    assert recording.path == "evtop-recording-20261120T120000Z.jsonl"
    assert json.loads((folder / recording.path).read_text())["type"] == "x"


def test_a_file_that_cannot_be_written_is_one_clear_message(clock, folder, monkeypatch):
    full = os.open("/dev/full", os.O_WRONLY)
    with monkeypatch.context() as patch:
        patch.setattr(export, "open_safely", lambda *_: full)
        with pytest.raises(OutputError, match="No space left"):
            save(clock, "copy", "txt", ["x"])
    for number in range(1, 1000):
        name = "evtop-copy-20261120T120000Z" + (f"-{number}" if number > 1 else "")
        (folder / f"{name}.txt").touch()
    with pytest.raises(OutputError, match="too many of that name"):
        save(clock, "copy", "txt", ["x"])
    folder.rename(folder.with_name("elsewhere"))
    monkeypatch.setattr(os, "O_CREAT", 0)
    with pytest.raises(OutputError, match=r"cannot write .*\.txt: No such file"):
        save(clock, "gone", "txt", ["x"])


# --- a table as text ----------------------------------------------------------------


def test_a_table_has_a_header_and_aligned_columns(table_of):
    table = table_of(ended("a", "'x'"), ended("bb", "'日本'"))
    head, *rows = render_table(table, "table")
    assert head.split()[:3] == ["STATE", "TASK", "UUID"]
    start = head.index("WORKER")
    assert [row[start : start + 3] for row in rows] == ["w@h", "w@h"]


def test_a_table_without_rows_still_has_its_header(table_of):
    [head] = render_table(table_of(), "table")
    assert head.startswith("STATE")


def test_a_wide_cell_is_clipped(table_of):
    _, row = render_table(table_of(ended("a", "日" * 5000)), "table")
    assert width(row) < 300


@pytest.mark.parametrize("output", ["table", "csv", "json"])
def test_nothing_can_harm_a_terminal(table_of, output):
    table = table_of(ended("a\x1b]0;x\x07", "'\x1b[2J\x9b\u202e'\n"))
    text = "\n".join(render_table(table, output))
    assert all(c.isprintable() or c == "\n" for c in text)
    assert text.count("\n") == (output != "json")


def test_csv_is_read_back_by_a_reader_of_csv(table_of):
    results = ['say "hi", twice', " blanks ", "plain"]
    table = table_of(*(ended(str(n), result) for n, result in enumerate(results)))
    rows = list(csv.DictReader(render_table(table, "csv")))
    assert sorted(row["outcome"] for row in rows) == sorted(results)
    assert {row["runtime"] for row in rows} == {"0.5"}
    assert {row["queue"] for row in rows} == {""}


@pytest.mark.parametrize("start", ["=1+1", "+1", "-1", "@x", "\uff1d1"])
def test_no_text_is_a_formula_to_a_spreadsheet(table_of, start):
    table = table_of(ended("a", start))
    [row] = csv.DictReader(render_table(table, "csv"))
    assert row["outcome"] == "'" + start


def test_json_has_all_that_is_known_with_its_types(table_of):
    table = table_of(ended("a", "'x'"), columns=["state"])
    [line] = render_table(table, "json")
    row = json.loads(line)
    assert (row["uuid"], row["runtime"], row["state"]) == ("a", 0.5, "SUCCESS")
    assert row["eta"] is None


@pytest.mark.parametrize("output", ["table", "csv"])
def test_the_columns_chosen_are_those_shown(table_of, output):
    table = table_of(ended("a", "'x'"), columns=["uuid", "state", "gone"])
    head, row = render_table(table, output)
    separator = "," if output == "csv" else None
    assert [name.lower() for name in head.split(separator)] == ["uuid", "state"]
    assert row.split(separator) == ["a", "OK"]


def test_every_view_can_be_written(table_of):
    for view in Model(clock=FakeClock(NOON)).views:
        table = table_of(ended("a", "'x'"), view=view)
        for output in ("table", "csv", "json"):
            list(render_table(table, output))


def test_a_row_that_was_forgotten_is_left_out(table_of):
    table = table_of(ended("a", "'x'"))
    table.cursor.keys.append("forgotten")
    assert len(list(render_table(table, "csv"))) == 2
    assert len(list(render_table(table, "table"))) == 2
    assert len(list(render_table(table, "json"))) == 1


# --- recordings -------------------------------------------------------------------

EVENTS = [
    {"type": "task-sent", "uuid": "1", "timestamp": 1.0, "local_received": 2.0},
    {"type": "worker-heartbeat", "hostname": "w\x1b@h", "local_received": 3.0},
]


def test_what_was_recorded_can_be_replayed(tmp_path, clock):
    recording = Recording(str(tmp_path / "x.jsonl"), clock)
    recording.write(events_of(EVENTS))
    recording.close()
    recording.close()
    assert (recording.events, recording.error) == (2, "")
    tape = RecordingReader(recording.path, clock=clock)
    assert [event for batch in tape.batches() for event in batch] == EVENTS
    tape.close()


def test_a_line_has_the_fields_of_earlier_events_of_its_task(tmp_path, clock):
    recording = Recording(str(tmp_path / "x.jsonl"), clock)
    recording.write(events_of([{**EVENTS[0], "name": "proj.add"}]))
    recording.write(events_of([{"type": "task-failed", "uuid": "1"}]))
    recording.close()
    last = json.loads((tmp_path / "x.jsonl").read_text().splitlines()[-1])
    assert (last["name"], last["joined"]) == ("proj.add", ["name", "sent"])


def test_what_was_written_is_there_before_the_end(tmp_path, clock):
    recording = Recording(str(tmp_path / "x.jsonl"), clock)
    recording.write(events_of(EVENTS))
    clock.now += 5
    recording.write([])
    lines = (tmp_path / "x.jsonl").read_text().splitlines()
    assert [json.loads(line)["type"] for line in lines] == ["task-sent", "worker-heartbeat"]
    recording.close()


def test_a_file_that_cannot_be_written_is_refused(tmp_path, clock):
    with pytest.raises(OutputError, match="cannot write"):
        Recording(str(tmp_path / "none" / "x"), clock)


def test_a_full_disk_ends_the_recording_and_nothing_else(clock):
    recording = Recording("/dev/full", clock)
    recording.write(events_of(EVENTS))
    recording.write([])
    assert "No space left" in recording.error
    recording.write(events_of(EVENTS * 9))
    recording.close()
    assert recording.events == 2


def test_a_disk_that_fills_up_in_the_middle_of_a_batch_is_no_exception(clock):
    recording = Recording("/dev/full", clock)
    recording.write(events_of([{"type": "x", "text": "y" * 70_000}] * 3))
    assert "No space left" in recording.error
    recording.close()
