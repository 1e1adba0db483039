import json
import os

import pytest

from evtools.errors import OutputError
from evtools.top import export
from evtools.top.export import Exporter
from evtools.top.model import Model
from tools.clock import FakeClock

NOON = 1795176000.0  # 2026-11-20T12:00:00Z


@pytest.fixture
def clock():
    return FakeClock(NOON)


@pytest.fixture
def exporter(clock, tmp_path):
    return Exporter(clock, tmp_path)


@pytest.fixture
def table(clock):
    model = Model(clock=clock)
    model.take(
        [
            {
                "type": "task-succeeded",
                "uuid": "an-id",
                "hostname": "w@h",
                "result": "'naïve \x1b[31m'",
                "timestamp": NOON,
                "local_received": NOON,
                "clock": 1,
                "pid": 1,
            }
        ]
    )
    model.refresh("tasks", NOON)
    return model.views["tasks"]


def test_rows_are_written_as_json_lines(exporter, table, tmp_path):
    name = exporter.json(table)
    assert name == str(tmp_path / "evtop-tasks-20261120T120000Z.jsonl")
    [line] = (tmp_path / name).read_text(encoding="utf-8").splitlines()
    assert json.loads(line)["uuid"] == "an-id"


def test_rows_are_written_as_csv(exporter, table, tmp_path):
    name = exporter.csv(table)
    assert name.endswith("evtop-tasks-20261120T120000Z.csv")
    header, row = (tmp_path / name).read_text(encoding="utf-8").splitlines()
    assert header.startswith("state,name,uuid")
    assert "\x1b" not in row


def test_a_screenshot_is_text_without_blanks_at_the_edge(exporter, tmp_path):
    name = exporter.screenshot("workers", ["a  b   ", "", "日本"])
    assert name.endswith("evtop-workers-20261120T120000Z.txt")
    assert (tmp_path / name).read_text(encoding="utf-8") == "a  b\n\n日本\n"


def test_what_was_copied_is_kept_whatever_is_in_it(exporter, tmp_path):
    name = exporter.copied("x" * 200_000 + "\ud800")
    assert name.endswith("evtop-copy-20261120T120000Z.txt")
    assert (tmp_path / name).read_text(encoding="utf-8").endswith("x\\ud800\n")


def test_a_recording_gets_a_name_as_well(exporter, tmp_path):
    recording = exporter.recording()
    recording.write([{"type": "x"}])
    recording.close()
    assert recording.path == str(tmp_path / "evtop-recording-20261120T120000Z.jsonl")
    assert json.loads((tmp_path / recording.path).read_text())["type"] == "x"


def test_nothing_is_ever_overwritten(exporter, tmp_path):
    first = exporter.copied("one")
    second, third = exporter.copied("two"), exporter.copied("three")
    assert second.endswith("evtop-copy-20261120T120000Z-2.txt")
    assert third.endswith("evtop-copy-20261120T120000Z-3.txt")
    assert (tmp_path / first).read_text() == "one\n"


def test_a_link_is_not_followed(exporter, tmp_path):
    target = tmp_path / "target"
    target.write_text("mine")
    (tmp_path / "evtop-copy-20261120T120000Z.txt").symlink_to(target)
    assert exporter.copied("x").endswith("-2.txt")
    assert target.read_text() == "mine"


def test_without_a_folder_files_are_where_evtop_was_started(clock, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert Exporter(clock).copied("x") == "evtop-copy-20261120T120000Z.txt"
    assert [path.name for path in tmp_path.iterdir()] == ["evtop-copy-20261120T120000Z.txt"]


def test_a_folder_that_is_not_there_is_one_clear_message(clock, tmp_path):
    exporter = Exporter(clock, tmp_path / "none")
    with pytest.raises(OutputError, match=r"cannot write .*\.txt: No such file"):
        exporter.copied("x")


def test_a_full_disk_is_one_clear_message(clock, tmp_path, monkeypatch):
    exporter = Exporter(clock, tmp_path)
    full = os.open("/dev/full", os.O_WRONLY)
    monkeypatch.setattr(export, "open_safely", lambda *_: full)
    with pytest.raises(OutputError, match="No space left"):
        exporter.copied("x")


def test_a_thousand_files_a_second_are_enough(clock, tmp_path):
    exporter = Exporter(clock, tmp_path)
    stem = "evtop-copy-20261120T120000Z"
    for name in (stem, *(f"{stem}-{number}" for number in range(2, 1000))):
        (tmp_path / f"{name}.txt").touch()
    with pytest.raises(OutputError, match="too many of that name"):
        exporter.copied("x")
