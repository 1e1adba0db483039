import dataclasses
import json
import sys
from pathlib import Path

import pytest

import contents
from binary import Built, Commit


@pytest.fixture
def built(tmp_path):
    """As if this environment had been frozen."""
    wheel = tmp_path / "evtools-1-py3-none-any.whl"
    single = tmp_path / "evtools-1-linux-x86_64"
    return Built("1", wheel, single, tmp_path, Path(sys.executable), Commit("abc", 0))


def test_every_distribution_has_version_and_licence(built):
    found = {part.name: part for part in contents.parts(built)}
    assert found["urwid"].licence.startswith("LGPL-2.1")
    assert found["kombu"].version
    assert found["click"].texts
    assert not set(found) & contents.NOT_INSIDE
    assert found["cpython"].licence == "PSF-2.0 (of the machine)"
    assert found["libpq"].version == f"of psycopg-binary {found['psycopg-binary'].version}"
    assert "PostgreSQL Global Development Group" in found["libpq"].texts["libpq.txt"]
    assert all(found[name].texts for name in contents.OF_PSYCOPG)


def test_a_release_knows_what_its_interpreter_is_made_of(built, tmp_path):
    parts = [{"name": "openssl", "version": "3", "licence": "x", "texts": {"L": "text"}}]
    (tmp_path / "parts.json").write_text(json.dumps(parts))
    release = dataclasses.replace(built, interpreter=tmp_path)
    found = {part.name: part for part in contents.parts(release)}
    assert found["openssl"].texts == {"L": "text"}
    assert "cpython" not in found


def test_the_list_is_a_line_for_each_part():
    found = [contents.Part("a", "1.0", "MIT"), contents.Part("longer", "2", "BSD")]
    lines = contents.table("evtools-1", found).splitlines()
    assert lines[0] == "evtools-1 contains:"
    assert lines[2:4] == ["a       1.0  MIT", "longer  2    BSD"]
    assert any("urwid" in line for line in lines[4:])


def test_licences_are_files_of_their_part(tmp_path):
    contents.write_licences([contents.Part("a", "1", "MIT", {"LICENSE": "as is"})], tmp_path)
    assert (tmp_path / "a" / "LICENSE").read_text() == "as is"


def test_the_newest_c_library_is_found_in_each_elf_file(tmp_path):
    elf = b"\x7fELF.."
    (tmp_path / "old.so").write_bytes(elf + b"\0GLIBC_2.2.5\0GLIBC_2.14\0")
    (tmp_path / "new.so").write_bytes(elf + b"\0GLIBC_2.4\0GLIBC_2.34\0")
    (tmp_path / "none.so").write_bytes(elf)
    (tmp_path / "text").write_bytes(b"\0GLIBC_2.99\0")
    (tmp_path / "link.so").symlink_to("new.so")
    found = {path.name: need for path, need in contents.glibc(tmp_path).items()}
    assert found == {"old.so": (2, 14), "new.so": (2, 34)}


def test_this_python_needs_some_c_library():
    folder = Path(sys.executable).resolve().parent
    assert all(need > (2, 1) for need in contents.glibc(folder).values())
