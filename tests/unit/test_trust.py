"""Paths and code that root trusts; here whoever runs the tests stands for root."""

import importlib.machinery
import importlib.util
import os
import sys
from pathlib import Path

import pytest

from evtools import trust
from evtools.errors import UsageError
from evtools.trust import (
    check_way,
    enter_folder,
    make_folders,
    open_safely,
    refuse_untrusted,
    safe_place,
    writable_by_others,
)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder that nobody else can write, as all that are above it."""
    monkeypatch.setattr(trust, "_ROOT", os.getuid())
    tmp_path.chmod(0o755)
    return tmp_path


@pytest.fixture
def module(folder):
    path = folder / "cams" / "mine.py"
    path.parent.mkdir(mode=0o755)
    path.write_text("x = 1\n")
    path.chmod(0o644)
    return path


def spec_of(path):
    return importlib.util.spec_from_file_location(path.stem, path)


# --- files ----------------------------------------------------------------------------


LOOSE, STICKY, TIGHT = 0o777, 0o1777, 0o755


@pytest.mark.parametrize(
    ("kind", "mode", "flags", "complaint"),
    [
        ("file", LOOSE, os.O_RDONLY, None),
        ("link", TIGHT, os.O_RDONLY, None),
        ("link", STICKY, os.O_RDONLY, None),
        ("link", LOOSE, os.O_RDONLY, "root does not follow the link .*/link, which others than"),
        ("link", TIGHT, os.O_NOFOLLOW, "it is a symbolic link"),
        ("link to a link", TIGHT, os.O_RDONLY, None),
        ("endless link", TIGHT, os.O_RDONLY, "Too many levels"),
        ("twin", TIGHT, os.O_WRONLY | os.O_TRUNC, None),
        ("twin", LOOSE, os.O_WRONLY | os.O_TRUNC, "it has a second name"),
        ("pipe", LOOSE, os.O_WRONLY, "it is no plain file"),
        ("nothing", LOOSE, os.O_RDONLY, "No such file"),
    ],
)
def test_a_file_is_opened_by_a_way_that_others_cannot_change(
    folder, monkeypatch, kind, mode, flags, complaint
):
    place, secret = folder / "place", folder / "secret"
    place.mkdir()
    secret.write_text("root's")
    path = place / kind
    if kind == "file":
        path.write_text("root's")
    elif kind == "twin":
        path.hardlink_to(secret)
    elif kind == "pipe":
        os.mkfifo(path)
    elif "link" in kind:
        path.symlink_to({"link": secret, "endless link": kind}.get(kind, "../place/other"))
        (place / "other").symlink_to("../secret")
    place.chmod(mode)
    monkeypatch.chdir(place)
    if complaint is None:
        file = open_safely(kind, flags)
        assert os.fstat(file).st_size == (0 if flags & os.O_TRUNC else 6)
        assert os.get_blocking(file)
        os.close(file)
    else:
        with pytest.raises(OSError, match=complaint):
            open_safely(kind, flags)
        assert secret.read_text() == "root's"


def test_a_link_of_proc_is_followed_though_its_file_has_no_name(folder):
    path = folder / "x"
    path.write_text("here")
    with path.open() as kept:
        path.unlink()
        file = open_safely(f"/proc/self/fd/{kept.fileno()}", os.O_RDONLY)
        assert os.read(file, 10) == b"here"
        os.close(file)


def test_folders_are_made_and_entered_but_not_over_a_link_of_others(folder, monkeypatch):
    monkeypatch.chdir(folder)
    make_folders(folder / "a" / "b")
    enter_folder("a/../a/b")
    assert Path.cwd() == folder / "a" / "b"
    loose = folder / "loose"
    loose.mkdir()
    (loose / "link").symlink_to(folder)
    loose.chmod(0o777)
    refused = pytest.raises(PermissionError, match="root does not follow")
    for act in (enter_folder, check_way, lambda path: make_folders(path / "c")):
        with refused:
            act(loose / "link" / "a")
    with safe_place(loose / "link") as (place, name):
        assert (name, os.readlink(name, dir_fd=place)) == ("link", str(folder))
    check_way(folder / "nothing" / "there")


# --- code -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("place", "mode", "is_open"),
    [
        (".", 0o755, False),
        ("cams/mine.py", 0o646, True),
        ("cams", 0o777, True),
        (".", 0o777, True),
        # A sticky folder is passed but not loaded from.
        (".", 0o1777, False),
        ("cams", 0o1777, True),
    ],
)
def test_a_file_is_trusted_if_nobody_else_can_write_it_or_its_way(
    folder, module, place, mode, is_open
):
    path = folder / place
    path.chmod(mode)
    assert writable_by_others(module) == (path if is_open else None)
    if is_open:
        with pytest.raises(UsageError, match=f"others than root can write {path}") as caught:
            refuse_untrusted(spec_of(module), "do this")
        assert caught.value.hint == "do this"
    else:
        refuse_untrusted(spec_of(module), "do this")


def test_a_group_can_be_others_and_the_owner_counts(module, monkeypatch):
    module.chmod(0o664)
    loose = module.stat().st_gid != os.getuid()
    assert (writable_by_others(module) == module) is loose
    monkeypatch.setattr(trust, "_ROOT", os.getuid() + 1)
    assert writable_by_others(module) is not None


def test_a_link_is_as_good_as_its_way_and_its_end(folder, module):
    loose = folder / "loose"
    loose.mkdir(mode=0o755)
    link = loose / "mine.py"
    link.symlink_to(module)
    assert writable_by_others(link) is None
    for place in (loose, module.parent):
        place.chmod(0o777)
        assert writable_by_others(link) == place
        place.chmod(0o755)


@pytest.mark.parametrize("is_there", [True, False])
def test_the_compiled_file_counts_too_and_where_it_will_be(module, monkeypatch, is_there):
    compiled = Path(importlib.util.cache_from_source(str(module)))
    compiled.parent.mkdir(mode=0o755)
    if is_there:
        compiled.write_bytes(b"")
        compiled.chmod(0o644)
    refuse_untrusted(spec_of(module), "do this")
    compiled.parent.chmod(0o777)
    with pytest.raises(UsageError, match="__pycache__"):
        refuse_untrusted(spec_of(module), "do this")

    def cannot(path):
        raise NotImplementedError

    # A file that is never compiled has none.
    monkeypatch.setattr(trust, "cache_from_source", cannot)
    refuse_untrusted(spec_of(module), "do this")


def test_a_package_is_as_good_as_its_folder_and_a_built_in_module_is_good(folder):
    package = folder / "pack"
    package.mkdir(mode=0o755)
    spec = importlib.machinery.ModuleSpec("pack", None, is_package=True)
    spec.submodule_search_locations = [str(package), str(folder / "gone")]
    refuse_untrusted(spec, "")
    package.chmod(0o777)
    with pytest.raises(UsageError, match="pack"):
        refuse_untrusted(spec, "")
    refuse_untrusted(sys.__spec__, "")
