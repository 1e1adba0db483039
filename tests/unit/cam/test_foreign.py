import importlib
import sys

import pytest

from evtools.cam.foreign import explain

OURS = "{}.{}".format(*sys.version_info)


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Write a package with an extension; return the error of its import."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def make(extension, source, name="strange"):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "__init__.py").write_text(source)
        if extension:
            (folder / extension).write_bytes(b"\x7fELF")
        monkeypatch.delitem(sys.modules, name, raising=False)
        with pytest.raises(ImportError) as caught:
            importlib.import_module(name)
        return explain("mod.Camera", caught.value, sys.path)

    return make


SOURCES = [
    "from strange import _native\n",
    "from strange._native import thing\n",
    "import strange._native\n",
    "try: from . import _native\nexcept ImportError: raise ImportError('failed')\n",
]


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize(
    ("extension", "python"),
    [
        ("_native.cpython-39-x86_64-linux-gnu.so", "Python 3.9"),
        ("_native.cpython-399t-x86_64-linux-gnu.so", "Python 3.99"),
        ("_native.pypy310-pp73-x86_64-linux-gnu.so", "PyPy 3.10"),
    ],
)
def test_the_file_and_its_python_are_named(package, tmp_path, extension, python, source):
    error = package(extension, source)
    assert error is not None
    assert str(tmp_path / "strange" / extension) in error.message
    assert f"was built for {python}" in error.message
    assert f"{OURS}" in error.message
    assert f"--python-version {OURS} --target DIR strange" in error.hint


def test_the_standalone_program_says_what_it_contains(package, monkeypatch):
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    error = package("_native.cpython-39-x86_64-linux-gnu.so", SOURCES[0])
    assert f"this program contains Python {OURS}" in error.message


@pytest.mark.parametrize(
    "extension", ["", "_other.cpython-39-x86_64-linux-gnu.so", "_native.debug.so"]
)
def test_a_module_that_is_just_missing_is_nobodys_fault(package, extension):
    assert package(extension, SOURCES[1]) is None


def test_a_file_for_us_is_not_foreign(package):
    suffix = importlib.machinery.EXTENSION_SUFFIXES[0]
    assert package(f"_native{suffix}", SOURCES[1]) is None


def test_names_from_nowhere_look_into_no_folder(tmp_path):
    (tmp_path / "x.cpython-39-x86_64-linux-gnu.so").touch()
    for name in ("../x", "*", "a..x", ""):
        error = ImportError("no", name=name)
        assert explain("mod.Camera", error, [str(tmp_path)]) is None


def test_other_errors_are_somebody_elses(tmp_path):
    assert explain("mod.Camera", ValueError("x"), [str(tmp_path)]) is None


def test_errors_that_refer_to_each_other_come_to_an_end(tmp_path):
    first, second = ImportError("a", name="a"), ImportError("b", name="b")
    first.__context__, second.__context__ = second, first
    assert explain("mod.Camera", first, [str(tmp_path)]) is None


def test_a_folder_that_cannot_be_read_is_passed_over():
    missing = ModuleNotFoundError("No module named '_native'", name="_native")
    unreadable = "x" * 5000
    assert explain("mod.Camera", missing, [unreadable]) is None
