import importlib.machinery
import importlib.util
import os
import sys
from pathlib import Path

import pytest

from evtools import trust
from evtools.errors import UsageError
from evtools.trust import refuse_untrusted, writable_by_others


@pytest.fixture
def mine(monkeypatch):
    """Let who runs this test be who is trusted: it need not be root."""
    monkeypatch.setattr(trust, "_ROOT", os.getuid())


@pytest.fixture
def folder(tmp_path, mine, monkeypatch):
    """A folder that nobody else can write, as all that are above it."""
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


def mode(path, bits):
    path.chmod(bits)
    return path


def test_what_belongs_to_root_alone_is_trusted(module):
    assert writable_by_others(module) is None
    refuse_untrusted(spec_of(module), "do this")


def test_a_file_that_others_can_write_is_not(module):
    mode(module, 0o646)
    with pytest.raises(UsageError, match="others than root can write") as caught:
        refuse_untrusted(spec_of(module), "do this")
    assert str(module) in caught.value.message
    assert caught.value.hint == "do this"


def test_nor_is_one_in_a_folder_that_others_can_write(module):
    mode(module.parent, 0o777)
    assert writable_by_others(module) == module.parent


def test_nor_with_such_a_folder_further_up(folder, module):
    mode(folder, 0o777)
    assert writable_by_others(module) == folder


def test_a_sticky_folder_further_up_is_passed_but_not_loaded_from(folder, module):
    mode(folder, 0o1777)
    assert writable_by_others(module) is None
    mode(module.parent, 0o1777)
    assert writable_by_others(module) == module.parent


def test_a_group_can_be_others(module, monkeypatch):
    monkeypatch.setattr(trust, "_ROOT", os.getuid())
    mode(module, 0o664)
    loose = module.stat().st_gid != os.getuid()
    assert (writable_by_others(module) == module) is loose


def test_the_owner_counts(module, monkeypatch):
    monkeypatch.setattr(trust, "_ROOT", os.getuid() + 1)
    assert writable_by_others(module) is not None


def test_a_link_is_as_good_as_its_way_and_its_end(folder, module):
    loose = folder / "loose"
    loose.mkdir(mode=0o755)
    link = loose / "mine.py"
    link.symlink_to(module)
    assert writable_by_others(link) is None
    mode(loose, 0o777)
    assert writable_by_others(link) == loose
    mode(loose, 0o755)
    mode(module.parent, 0o777)
    assert writable_by_others(link) == module.parent


def test_what_was_compiled_before_counts_too(module):
    compiled = Path(importlib.util.cache_from_source(str(module)))
    compiled.parent.mkdir(mode=0o755)
    compiled.write_bytes(b"")
    compiled.chmod(0o644)
    refuse_untrusted(spec_of(module), "do this")
    mode(compiled.parent, 0o777)
    with pytest.raises(UsageError, match="__pycache__"):
        refuse_untrusted(spec_of(module), "do this")


def test_so_does_where_it_will_be_compiled_to(module):
    compiled = Path(importlib.util.cache_from_source(str(module)))
    compiled.parent.mkdir()
    mode(compiled.parent, 0o777)
    with pytest.raises(UsageError, match="__pycache__"):
        refuse_untrusted(spec_of(module), "do this")


def test_a_package_is_as_good_as_its_folder(folder):
    package = folder / "pack"
    package.mkdir(mode=0o755)
    spec = importlib.machinery.ModuleSpec("pack", None, is_package=True)
    spec.submodule_search_locations = [str(package), str(folder / "gone")]
    refuse_untrusted(spec, "")
    mode(package, 0o777)
    with pytest.raises(UsageError, match="pack"):
        refuse_untrusted(spec, "")


def test_what_comes_from_no_file_is_trusted():
    refuse_untrusted(sys.__spec__, "")


def test_a_file_that_is_never_compiled_has_no_compiled_one(module, monkeypatch):
    def cannot(path):
        raise NotImplementedError

    monkeypatch.setattr(trust, "cache_from_source", cannot)
    refuse_untrusted(spec_of(module), "do this")
