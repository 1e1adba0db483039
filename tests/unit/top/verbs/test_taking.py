import base64
import json

import pytest

from evtools.top.terminal import COPY_BYTES_MAX


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """Have files written where they are removed again."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def copied(terminal):
    sequence = terminal.host.sent[-1]
    return base64.b64decode(sequence.removeprefix("\x1b]52;c;")[:-1]).decode()


def test_the_id_of_a_task_is_copied_and_the_name_of_a_type(terminal):
    terminal.press("y")
    assert copied(terminal) == "id39"
    assert terminal.message == "copied, if the terminal allows it: id39"
    terminal.press("2", "c")
    assert copied(terminal).startswith("proj.task")


def test_what_names_an_event_or_an_error_is_copied(terminal):
    terminal.press("5", "y")
    assert copied(terminal) == "id39"
    terminal.press("6", "y")
    assert copied(terminal).startswith("proj.task")


def test_a_row_is_copied_as_json(terminal):
    terminal.press("Y")
    assert json.loads(copied(terminal))["uuid"] == "id39"


def test_without_a_row_there_is_nothing_to_copy(terminal):
    terminal.command("filter state:retry")
    terminal.press("y")
    assert terminal.message == "there is no row to copy"


def test_what_no_clipboard_takes_goes_into_a_file(terminal, session, folder):
    row = terminal.life.received("long", "x" * COPY_BYTES_MAX)
    terminal.take(row)
    session.table.cursor.to_key("long")
    terminal.press("Y")
    (file,) = folder.iterdir()
    assert terminal.host.sent == []
    assert terminal.message == f"too long for a clipboard; it is in {file.name}"
    assert "x" * COPY_BYTES_MAX in file.read_text()


@pytest.mark.parametrize(("key", "ending"), [("j", ".jsonl"), ("c", ".csv")])
def test_rows_are_exported(terminal, folder, key, ending):
    terminal.press("x", key)
    (file,) = folder.iterdir()
    assert file.name.endswith(ending)
    assert len(file.read_text().splitlines()) == 40 + (ending == ".csv")
    assert terminal.message == f"40 rows in {file.name}"


def test_a_screenshot_is_what_was_on_the_screen(terminal, folder):
    terminal.host.text = terminal.lines()
    terminal.command("export screenshot")
    (file,) = folder.iterdir()
    assert file.read_text().splitlines() == terminal.host.text
    assert "screenshot in" in terminal.message


def test_other_things_cannot_be_exported(terminal):
    terminal.command("export pdf")
    assert terminal.message.startswith("pdf cannot be exported (there are jsonl, csv")


def test_a_recording_is_begun_and_ended(terminal, session, folder):
    terminal.press("x")
    terminal.press("r")
    assert session.feed.recording is not None
    assert terminal.message.startswith("recording into evtop-recording-")
    terminal.press("x")
    assert "stop recording" in terminal.text
    terminal.press("r")
    assert session.feed.recording is None
    assert terminal.message.startswith("0 events in evtop-recording-")


def test_a_recording_takes_the_place_of_a_file_only_if_that_is_meant(terminal, session, folder):
    there = folder / "mine.jsonl"
    there.write_text("hours\n")
    terminal.command("record mine.jsonl")
    assert "mine.jsonl has 6B." in terminal.text
    terminal.press("enter")
    assert (session.feed.recording, there.read_text()) == (None, "hours\n")
    terminal.command("record mine.jsonl")
    terminal.press("y")
    assert terminal.message == "recording into mine.jsonl"
    terminal.command("record off")


def test_a_recording_can_have_a_name(terminal, session, folder):
    terminal.command("record mine.jsonl")
    assert terminal.message == "recording into mine.jsonl"
    terminal.command("record off")
    assert session.feed.recording is None
    terminal.command("record off")
    terminal.command("record")
    assert session.feed.recording is not None
    terminal.command("record")
    assert session.feed.recording is None
    terminal.command("record /nowhere/x.jsonl")
    assert terminal.message.startswith("cannot")
