"""What check_mirror.py demands of modules and of their tests."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import check_mirror

SCRIPT = Path(check_mirror.__file__)


@pytest.fixture
def repository(tmp_path):
    """A repository that is as it should be."""
    write = {
        "evtools/__init__.py": '"""Watch."""\n\n__version__ = "1"\n',
        "evtools/__main__.py": '"""Starts."""\n\nprint()\n',
        "evtools/wire/__init__.py": '"""Wire."""\n\nfrom a import b\n',
        "evtools/wire/codec.py": '"""Bytes to events."""\n\nx = 1\n',
        "tests/unit/conftest.py": "",
        "tests/unit/test_main.py": "",
        "tests/unit/wire/test_codec.py": "",
    }
    for name, text in write.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


def found(repository):
    return list(check_mirror.problems(repository))


def test_a_mirrored_package_has_no_problems(repository):
    assert found(repository) == []


def test_a_module_needs_a_test(repository):
    (repository / "tests/unit/wire/test_codec.py").unlink()
    assert found(repository) == [
        "evtools/wire/codec.py: its test is missing: tests/unit/wire/test_codec.py"
    ]


def test_a_test_needs_a_module(repository):
    (repository / "tests/unit/test_codec.py").touch()
    assert [line.split(":")[0] for line in found(repository)] == [
        "tests/unit/test_codec.py"
    ]


@pytest.mark.parametrize(
    "code",
    [
        "import a\nfrom b import c\n",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import a\n",
        '__all__: list[str] = ["a"]\n',
    ],
)
def test_an_init_that_only_exports_needs_no_test(repository, code):
    (repository / "evtools/wire/__init__.py").write_text(f'"""Wire."""\n{code}')
    assert found(repository) == []


@pytest.mark.parametrize(
    "code",
    [
        "LIMIT = 3\n",
        "def __getattr__(name):\n    return name\n",
        "if a:\n    import b\n",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    x = 1\n",
    ],
)
def test_an_init_with_code_needs_a_test(repository, code):
    (repository / "evtools/wire/__init__.py").write_text(f'"""Wire."""\n{code}')
    assert found(repository) == [
        "evtools/wire/__init__.py: its test is missing: tests/unit/wire/test_init.py"
    ]


@pytest.mark.parametrize(
    ("docstring", "problem"),
    [
        ("", "has no docstring"),
        ('"""Bytes to events"""', "has no full stop"),
        ('"""Bytes to events.\n\nAnd more.\n"""', "more than one line"),
    ],
)
def test_a_docstring_is_one_line_with_a_full_stop(repository, docstring, problem):
    (repository / "evtools/wire/codec.py").write_text(f"{docstring}\nx = 1\n")
    (line,) = found(repository)
    assert line.startswith("evtools/wire/codec.py: ")
    assert problem in line


def test_the_tree_of_errors_may_be_drawn(repository):
    (repository / "evtools/errors.py").write_text('"""The tree.\n\n a\n  b\n"""\n')
    (repository / "tests/unit/test_errors.py").touch()
    assert found(repository) == []


def test_the_script_prints_problems_and_fails(repository):
    scripts = repository / "scripts"
    scripts.mkdir()
    script = scripts / SCRIPT.name
    script.write_text(SCRIPT.read_text())
    run = [sys.executable, str(script)]
    assert subprocess.run(run, capture_output=True, check=False).returncode == 0
    (repository / "tests/unit/test_main.py").unlink()
    done = subprocess.run(run, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stdout.splitlines() == found(repository)
