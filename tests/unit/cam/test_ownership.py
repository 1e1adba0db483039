"""Files opened for another user; with the real kernel where that needs no root."""

import os

import pytest

from evtools.cam import ownership
from evtools.cam.ownership import open_owned
from evtools.cam.privileges import Identity
from evtools.errors import OutputError

FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CREAT
OTHER = Identity(64_999, 64_999, (64_999,))


@pytest.fixture
def refusing(monkeypatch):
    """The other user may open nothing."""
    given = []

    class Refusing:
        def __init__(self, who):
            self.who = who

        def __enter__(self):
            if self.who is not None:
                raise PermissionError(13, "Permission denied")

        def __exit__(self, *exc_info):
            return False

    monkeypatch.setattr(ownership, "acting_as", Refusing)
    monkeypatch.setattr(os, "fchown", lambda file, *who: given.append(who))
    return given


def content_after_opening(path, owner, **how):
    file = open_owned(path, FLAGS, owner, mode=0o640, **how)
    assert not os.get_inheritable(file)
    os.write(file, b"more")
    os.close(file)
    return path.read_text()


def test_for_oneself_it_is_opened_as_usual(tmp_path):
    there = tmp_path / "there"
    there.write_text("some ")
    (tmp_path / "link").symlink_to(there)
    assert content_after_opening(tmp_path / "link", None) == "some more"
    assert content_after_opening(tmp_path / "new", None) == "more"
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o640


def test_what_one_may_not_open_oneself_is_an_error(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(PermissionError):
        open_owned(tmp_path / "x", FLAGS, None, mode=0o640)


def test_what_root_makes_for_another_is_given_away(tmp_path, refusing):
    assert content_after_opening(tmp_path / "new", OTHER, give=True) == "more"
    assert refusing == [(64_999, 64_999)]


def test_what_was_there_is_not_given_away(tmp_path, refusing):
    (tmp_path / "old").write_text("some ")
    assert content_after_opening(tmp_path / "old", OTHER, give=True) == "some more"
    assert content_after_opening(tmp_path / "new", OTHER) == "more"
    assert refusing == []


def test_root_follows_no_link(tmp_path, refusing):
    (tmp_path / "secret").write_text("root's")
    (tmp_path / "link").symlink_to(tmp_path / "secret")
    with pytest.raises(OSError, match="symbolic link"):
        open_owned(tmp_path / "link", FLAGS, OTHER, mode=0o640, give=True)


def test_root_writes_into_no_file_with_a_second_name(tmp_path, refusing):
    (tmp_path / "secret").write_text("root's")
    (tmp_path / "twin").hardlink_to(tmp_path / "secret")
    with pytest.raises(OutputError, match="has a second name"):
        open_owned(tmp_path / "twin", FLAGS, OTHER, mode=0o640)


def test_root_writes_into_no_pipe(tmp_path, refusing):
    os.mkfifo(tmp_path / "pipe")
    flags = os.O_RDWR | os.O_NONBLOCK
    with pytest.raises(OutputError, match="it is no file"):
        open_owned(tmp_path / "pipe", flags, OTHER, mode=0o640)
