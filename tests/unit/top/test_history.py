"""Tests for evtools.top.history."""

import json
import os
import stat

import pytest

from evtools.top.history import LINES_MAX, History, usual_file


@pytest.fixture
def path(tmp_path):
    return tmp_path / "state" / "evtools" / "history.json"


def remembered(path):
    """Keep a line and a filter; return the path of the file."""
    history = History(path)
    history.remember("filter", "state:fail")
    history.save("bad", "state:fail,retry")
    return path


def test_a_history_has_each_line_once_newest_last_and_is_bounded():
    history = History()
    for text in ("a", "b", "a", ""):
        history.remember("filter", text)
    assert history.lines("filter") == ["b", "a"]
    for number in range(2 * LINES_MAX):
        history.remember("filter", str(number))
    assert len(history.lines("filter")) == LINES_MAX
    assert history.lines("search") == ()
    history.keep()


def test_the_next_session_knows_what_this_one_kept(path):
    history = History(path)
    history.remember("search", "Traceback")
    history.remember("command", "view workers")
    history.keep()
    later = History(path)
    assert later.lines("search") == ["Traceback"]
    assert later.lines("command") == ["view workers"]
    assert later.saved == {}


def test_a_saved_filter_is_kept_at_once(path):
    History(path).save("bad", "state:fail")
    assert History(path).saved == {"bad": "state:fail"}


def test_only_the_newest_of_the_filters_with_a_name_are_kept(path):
    history = History(path)
    for number in range(LINES_MAX + 1):
        history.save(f"n{number}", "a")
    history.save("n1", "b")
    assert len(history.saved) == LINES_MAX
    assert "n0" not in history.saved
    assert list(History(path).saved.items())[-1] == ("n1", "b")


def test_sessions_at_the_same_time_lose_nothing_of_each_other(path):
    one, other = History(path), History(path)
    one.remember("filter", "a")
    other.remember("filter", "b")
    other.save("mine", "b")
    one.keep()
    assert History(path).lines("filter") == ["b", "a"]
    assert History(path).saved == {"mine": "b"}
    one.keep()
    assert History(path).lines("filter") == ["b", "a"]


def test_a_shorter_history_leaves_nothing_of_a_longer_file(path):
    remembered(path)
    path.write_text(path.read_text() + " " * 9999)
    history = History(path)
    history.remember("filter", "x")
    history.keep()
    assert json.loads(path.read_text())["typed"]["filter"] == ["state:fail", "x"]
    assert path.stat().st_size < 9999


def test_nobody_else_can_read_it(path):
    remembered(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_nothing_new_touches_no_file(path):
    History(path).keep()
    assert not path.exists()


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
    assert (history.saved, history.lines("filter"), history.lines("other")) == ({}, (), ())
    assert remembered(path)
    assert History(path).lines("filter") == ["state:fail"]


def test_a_link_is_not_followed(path, tmp_path):
    target = tmp_path / "precious"
    target.write_text("precious")
    path.parent.mkdir(parents=True)
    path.symlink_to(target)
    remembered(path)
    assert target.read_text() == "precious"
    assert History(path).saved == {}


def test_what_is_no_file_is_left_alone(path):
    path.parent.mkdir(parents=True)
    os.mkfifo(path)
    remembered(path)
    assert History(path).saved == {}


def test_a_file_of_somebody_else_is_left_alone(path, monkeypatch):
    remembered(path)
    before = path.read_bytes()
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    history = History(path)
    assert history.saved == {}
    history.save("other", "x")
    assert path.read_bytes() == before
    assert history.saved == {"other": "x"}


def test_without_a_place_to_write_it_goes_on(tmp_path):
    (tmp_path / "file").write_text("")
    history = History(tmp_path / "file" / "history.json")
    history.save("a", "b")
    assert history.saved == {"a": "b"}


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
