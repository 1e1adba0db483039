"""Cameras by name, built in and users' classes, and their options."""

from __future__ import annotations

import importlib
import os
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import celery.events.snapshot
import pytest

from evtools import trust
from evtools.cam import loader
from evtools.cam.camera import Bytes, Camera, Polaroid, Seconds
from evtools.cam.loader import converted, load_camera, signature_of
from evtools.cam.options import BUILT_IN, BuiltIn
from evtools.cam.schedule import Timer
from evtools.errors import OutputError, UsageError
from evtools.state import State

if TYPE_CHECKING:
    from nowhere import Unknown


@pytest.fixture(autouse=True)
def own_path(monkeypatch):
    """Give back the path and the modules as they were."""
    monkeypatch.setattr(sys, "path", sys.path[:])
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if name.startswith(("mycam", "mypack")):
            del sys.modules[name]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(textwrap.dedent(text))


@pytest.fixture
def mycam(folder):
    write(
        folder / "mycam.py",
        """
        from evtools import Camera, Polaroid
        print("printed at import")
        NUMBER = 3
        class Camera1(Polaroid):
            def __init__(self, *args, path: str = "x", **kwargs):
                super().__init__(*args, **kwargs)
                self.path = path
        class Slow(Camera):
            class Inner(Camera):
                pass
        class Other:
            def __init__(self, state): pass
            def install(self): pass
        def make(state, **kwargs):
            return Camera1(state, **kwargs)
        def wrong(state):
            return "no camera"
        class Fails(Polaroid):
            def __init__(self, *args, **kwargs):
                raise ValueError("no room")
        class Leaves(Polaroid):
            def __init__(self, *args, **kwargs):
                raise SystemExit(3)
        """,
    )
    return folder


def made(loaded):
    return loaded(State(), freq=2.0, maxrate=None, cleanup_freq=60.0, timer=Timer(), app=None)


def refused(name, **settings):
    with pytest.raises(UsageError) as caught:
        load_camera(name, **settings)
    assert "\n" not in caught.value.message
    assert caught.value.message.isprintable()
    return caught.value


# --- users' cameras ----------------------------------------------------------------


@pytest.mark.parametrize("name", ["mycam.Camera1", "mycam:Camera1"])
def test_a_class_is_found_in_the_working_directory(mycam, name):
    loaded = load_camera(name, options={"path": "y"})
    camera = made(loaded)
    assert (camera.path, camera.freq, camera.cleanup_freq) == ("y", 2.0, 60.0)
    assert loaded.name == name


def test_a_function_may_make_cameras(mycam):
    assert made(load_camera("mycam:make")).path == "x"


def test_it_may_be_celerys(folder):
    loaded = load_camera("celery.events.snapshot.Polaroid")
    assert isinstance(made(loaded), celery.events.snapshot.Polaroid)


def test_one_in_a_package_is_found_in_a_folder_that_was_named(tmp_path, folder):
    there = tmp_path / "there"
    write(there / "mypack" / "__init__.py", "")
    write(there / "mypack" / "cams.py", "from evtools import Polaroid as Camera")
    assert load_camera("mypack.cams.Camera", pythonpath=[str(there)]).make is Polaroid
    assert sys.path[-1] == str(there)


def test_a_folder_without_an_init_can_be_a_package(folder):
    write(folder / "mypack" / "cams.py", "from evtools import Polaroid as Camera")
    assert load_camera("mypack.cams:Camera").make is Polaroid


def test_nothing_of_users_comes_before_what_is_installed(folder):
    write(folder / "json.py", "raise RuntimeError('shadowed')")
    write(folder / "mycam.py", "import json\nfrom evtools import Polaroid as Camera")
    load_camera("mycam.Camera")
    assert sys.path[-1] == str(folder)


def test_a_binary_looks_at_pythonpath_too(tmp_path, folder, monkeypatch):
    there = tmp_path / "there"
    write(there / "mycam.py", "from evtools import Polaroid as Camera")
    monkeypatch.setenv("PYTHONPATH", f"{there}{os.pathsep}")
    refused("mycam.Camera")
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    load_camera("mycam.Camera")


def test_what_a_module_prints_does_not_go_to_stdout(mycam, capsys):
    load_camera("mycam.Camera1")
    told = capsys.readouterr()
    assert (told.out, told.err) == ("", "printed at import\n")


@pytest.mark.parametrize(
    ("name", "complaint", "hint"),
    [
        ("nothere.Camera", "there is no module nothere", "--pythonpath"),
        ("mycam.sub.Camera", "there is no module mycam.sub", "--pythonpath"),
        ("mycam.Nope", "there is no Nope in mycam (", "mycam.py"),
        ("mycam.NUMBER", "mycam.NUMBER is not a camera: it is not a class", "mod.Camera"),
        ("mycam.Other", "it has no method cancel", "evtools.Polaroid"),
        ("sys.Nope", "there is no Nope in sys (built in)", "mod.Camera"),
        ("mycam", "there is no camera mycam", "sqlite, postgres"),
        ("", "there is no camera ", "sqlite, postgres"),
        ("..Camera", "there is no camera", "mod.Camera"),
        ("my-cam.Camera", "there is no camera", "mod.Camera"),
        ("mycam:\x1b[31m", "there is no camera", "mod.Camera"),
    ],
)
def test_what_is_no_camera_is_refused_in_one_line(mycam, name, complaint, hint):
    error = refused(name)
    assert complaint in error.message
    assert hint in error.message + error.hint


@pytest.mark.parametrize(
    ("code", "complaint"),
    [
        ("import nothere", "ModuleNotFoundError: No module named 'nothere' ("),
        ("\n\ndef (", "SyntaxError: invalid syntax (mycam.py, line 3) ("),
        ("1 / 0", "ZeroDivisionError: division by zero ("),
        ("raise SystemExit('bye')", "SystemExit: bye ("),
        ("raise ValueError('\x1b[31mred\\nblue')", "ValueError: "),
    ],
)
def test_a_module_that_fails_is_told_with_the_place(folder, code, complaint):
    (folder / "mycam.py").write_text(code)
    error = refused("mycam.Camera")
    assert error.message.startswith(f"camera mycam.Camera cannot be imported: {complaint}")
    assert f"{folder}/mycam.py:" in error.message


def test_a_python_that_the_user_cannot_read_is_told(folder):
    code = "raise ModuleNotFoundError('No module named pprint', name='pprint')"
    (folder / "mycam.py").write_text(code)
    error = refused("mycam.Camera")
    assert "does not find Python's own pprint in /" in error.message
    assert "let all users read that folder" in error.hint


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("mycam.Fails", "camera mycam.Fails cannot be made: ValueError: no room ("),
        ("mycam.Leaves", "camera mycam.Leaves cannot be made: SystemExit: 3 ("),
        ("mycam:wrong", "mycam:wrong is not a camera: it is a function that returns"),
    ],
)
def test_one_that_cannot_be_made_is_told(mycam, name, complaint):
    with pytest.raises(UsageError) as caught:
        made(load_camera(name))
    assert caught.value.message.startswith(complaint)


def test_an_error_of_ours_is_told_as_it_is(folder):
    write(
        folder / "mycam.py",
        """
        from evtools import Polaroid
        from evtools.errors import OutputError
        class Camera(Polaroid):
            def __init__(self, *args, **kwargs):
                raise OutputError("the disk is full")
        """,
    )
    with pytest.raises(OutputError, match="the disk is full"):
        made(load_camera("mycam.Camera"))


@pytest.mark.parametrize(
    ("code", "complaint", "advice"),
    [
        (
            "def shutter(self, state): pass",
            "Camera.shutter takes (state), and evcam calls shutter()",
            "rename it to on_shutter(self, state)",
        ),
        (
            "def cleanup(self, state): pass",
            "Camera.cleanup takes (state), and evcam calls cleanup()",
            "rename it to on_cleanup(self)",
        ),
        (
            "def on_shutter(self): pass",
            "Camera.on_shutter takes (), and evcam calls on_shutter(state)",
            "write it as on_shutter(self, state)",
        ),
        (
            "def on_shutter(state): pass",
            "Camera.on_shutter takes (), and evcam calls on_shutter(state)",
            "write it as on_shutter(self, state)",
        ),
        (
            "def on_cleanup(self, state, older=1): pass",
            "Camera.on_cleanup takes (state, older=1), and evcam calls on_cleanup()",
            "write it as on_cleanup(self)",
        ),
        (
            "async def on_shutter(self, state): pass",
            "Camera.on_shutter is async, and evcam would not wait for it",
            "write def on_shutter, with asyncio.run(...) inside",
        ),
        (
            "def __init__(self): pass",
            "camera mycam.Camera cannot be made: it takes (), and is given (state",
            "write def __init__(self, state, **kwargs), which calls super()",
        ),
        (
            "def __init__(self, state, **kwargs): pass",
            "the constructor of camera mycam.Camera does not hand state on",
            "write def __init__(self, state, **kwargs), which calls super()",
        ),
        (
            "def __init__(self, state, **kwargs): super().__init__(state)",
            "the constructor of camera mycam.Camera does not hand timer on",
            "write def __init__(self, state, **kwargs), which calls super()",
        ),
        (
            "def __init__(self, state, **kwargs): super().__init__(**kwargs)",
            "camera mycam.Camera cannot be made: TypeError: ",
            "write def __init__(self, state, **kwargs), which calls super()",
        ),
    ],
)
@pytest.mark.parametrize(
    "base", ["evtools.Polaroid", "evtools.Camera", "celery.events.snapshot.Polaroid"]
)
def test_a_method_that_cannot_be_called_is_told_with_what_to_write(
    folder, base, code, complaint, advice
):
    write(
        folder / "mycam.py",
        f"""
        import celery.events.snapshot, evtools
        class Camera({base}):
            {code}
        """,
    )
    with pytest.raises(UsageError) as caught:
        made(load_camera("mycam.Camera"))
    assert complaint in caught.value.message
    assert caught.value.hint.startswith(advice)


def test_methods_that_call_each_other_otherwise_are_left_alone(folder):
    write(
        folder / "mycam.py",
        """
        from evtools import Polaroid
        class Camera(Polaroid):
            def capture(self):
                self.shutter(self.state, 1)
            def shutter(self, state, number):
                self.on_shutter()
            def on_shutter(self, *args):
                pass
        """,
    )
    made(load_camera("mycam.Camera"))


def test_its_options_are_looked_at_before_it_is_made(mycam):
    assert "has no option nope" in refused("mycam.Camera1", options={"nope": "1"}).message


def test_root_loads_nothing_that_others_can_write(mycam, monkeypatch):
    monkeypatch.setattr(loader.os, "geteuid", lambda: 0)
    monkeypatch.setattr(trust, "_ROOT", -1)
    assert "others than root can write" in refused("mycam.Camera1").message
    assert "mycam" not in sys.modules
    load_camera("mycam.Camera1", allow_insecure=True)


def test_who_is_not_root_loads_what_there_is(mycam, monkeypatch):
    monkeypatch.setattr(loader.os, "geteuid", lambda: 1000)
    monkeypatch.setattr(trust, "_ROOT", -1)
    load_camera("mycam.Camera1")


def test_a_module_without_a_spec_is_there_all_the_same(mycam, monkeypatch):
    load_camera("mycam.Camera1")
    monkeypatch.setattr(sys.modules["mycam"], "__spec__", None)
    load_camera("mycam.Camera1")


# --- built-in cameras --------------------------------------------------------------


@pytest.fixture
def shelf(monkeypatch, mycam):
    """One built-in camera of each kind, which come from users' code here."""
    table = {
        "file": BuiltIn("mycam:Camera1", "for tests", "path"),
        "url": BuiltIn("mycam:Camera1", "for tests", "path", has_query=False),
    }
    monkeypatch.setattr(loader, "BUILT_IN", table)
    monkeypatch.syspath_prepend(str(mycam))


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("file", {}),
        ("file:", {}),
        ("file:/var/x.db", {"path": "/var/x.db"}),
        ("file:a:b", {"path": "a:b"}),
        ("file:?path=y%20z", {"path": "y z"}),
        ("url:postgresql://h/db?sslmode=off", {"path": "postgresql://h/db?sslmode=off"}),
    ],
)
def test_what_follows_the_name_of_a_built_in_one_are_options(shelf, name, options):
    loaded = load_camera(name)
    assert loaded.options == options
    assert loaded.name == name.partition(":")[0]
    assert made(loaded).path == options.get("path", "x")


def test_an_option_cannot_be_given_twice(shelf):
    error = refused("file:x", options={"path": "y"})
    assert error.message == "option path of camera file is given twice"


def test_an_unknown_one_after_the_name_is_refused(shelf):
    assert "has no option keep" in refused("file:x?keep=30d").message


def test_it_can_be_given_apart(shelf):
    assert load_camera("file", options={"path": "y"}).options == {"path": "y"}


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("sqllite:x", "sqlite"),
        ("sqllite", "sqlite"),
        ("sqlite3:x", "sqlite"),
        ("json:x", "jsonl"),
        ("promethius", "prometheus"),
        ("postgresql://u@h/d", "postgres"),
    ],
)
def test_a_built_in_camera_that_is_misspelt_is_suggested(name, meant):
    with pytest.raises(UsageError) as caught:
        load_camera(name)
    assert caught.value.hint == f"did you mean {meant}?"


@pytest.mark.parametrize("name", BUILT_IN)
def test_each_built_in_camera_has_the_option_that_its_value_stands_for(name):
    module, _, attribute = BUILT_IN[name].where.partition(":")
    camera = getattr(importlib.import_module(module), attribute)
    assert issubclass(camera, Camera)
    signature = signature_of(camera)
    assert BUILT_IN[name].value in signature.options
    assert not signature.is_open


# === options =========================================================================


class Full(Camera):
    def __init__(
        self,
        *args: Any,
        path: Path,
        keep: Seconds = 60.0,
        size: Bytes | None = None,
        number: int = 3,
        share: float = 0.5,
        loud: bool = False,
        form: Literal["short", "long"] = "short",
        levels: tuple[float, ...] = (1.0,),
        text: str = "",
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)


class More(Full):
    def __init__(self, *args: Any, more: int = 0, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)


class Bare(Polaroid):
    """Says nothing of the kinds of its options but their defaults."""

    def __init__(self, state, where="x", often=3, share=0.5, *, loud=False, **kwargs):
        super().__init__(state, **kwargs)


class Puzzling(Polaroid):
    def __init__(self, state, x: Unknown = 1, **kwargs: Any) -> None:
        super().__init__(state, **kwargs)


def given(kind=Full, **options):
    if kind is Full:
        options = {"path": "/tmp/x"} | options
    return converted(options, signature_of(kind), "mod.Camera")


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("path", "/var/x", Path("/var/x")),
        ("keep", "30d", 30 * 86400.0),
        ("size", "10M", 10 * 2**20),
        ("number", "-7", -7),
        ("share", "0.25", 0.25),
        ("loud", "yes", True),
        ("loud", "OFF", False),
        ("form", "long", "long"),
        ("levels", "1, 2.5,,3", (1.0, 2.5, 3.0)),
        ("text", "a=b", "a=b"),
        # from a settings file
        ("number", 7, 7),
        ("loud", True, True),
        ("levels", [1, 2.5], (1.0, 2.5)),
        ("keep", 30, 30.0),
    ],
)
def test_options_become_what_the_constructor_says(name, text, value):
    assert given(**{name: text})[name] == value
    assert type(given(**{name: text})[name]) in {type(value), type(Path())}


@pytest.mark.parametrize(
    ("name", "text", "complaint"),
    [
        ("number", "x", '--camera-option number: "x" is not a whole number'),
        ("share", "\x1b[31m", "--camera-option share: "),
        ("loud", "maybe", '--camera-option loud: "maybe" is not yes or no'),
        ("form", "round", '--camera-option form: "round" is not one of short, long'),
        ("keep", "soon", '--camera-option keep: invalid duration "soon"'),
        ("size", "big", '--camera-option size: invalid size "big"'),
        ("levels", "1,x", '--camera-option levels: "x" is not a number'),
    ],
)
def test_a_bad_value_is_refused_in_one_line(name, text, complaint):
    with pytest.raises(UsageError) as caught:
        given(**{name: text})
    assert caught.value.message.startswith(complaint)
    assert caught.value.message.isprintable()


def test_an_unknown_option_is_refused_with_the_names_of_those_there_are():
    with pytest.raises(UsageError, match=r"camera mod\.Camera has no option nope") as e:
        given(nope="1")
    assert e.value.hint.startswith("it has: path, keep, size")
    with pytest.raises(UsageError) as e:
        given(Polaroid, nope="1")
    assert e.value.hint == "it has: none"


@pytest.mark.parametrize(
    ("name", "hint"),
    [("freq", "use --freq"), ("cleanup_freq", "use --cleanup-freq"), ("state", "")],
)
def test_what_has_an_option_of_its_own_is_not_given_here(name, hint):
    with pytest.raises(UsageError, match=f"--camera-option {name} cannot be given") as e:
        given(**{name: "1"})
    assert e.value.hint == hint


def test_what_has_no_default_must_be_given():
    with pytest.raises(UsageError, match=r"camera mod\.Camera needs path"):
        converted({}, signature_of(Full), "mod.Camera")


def test_options_of_bases_are_options_too():
    signature = signature_of(More)
    assert {"more", "path", "keep"} <= signature.options.keys()
    assert signature.required == {"path"}
    assert not signature.is_open


def test_defaults_tell_what_annotations_do_not():
    options = given(Bare, where="x", often="7", share="0.25", loud="yes")
    assert options == {"where": "x", "often": 7, "share": 0.25, "loud": True}


def test_annotations_that_cannot_be_read_are_no_hindrance():
    assert given(Puzzling, x="7") == {"x": 7}


def test_it_is_known_which_of_the_usual_arguments_a_camera_takes():
    every = {"state", "freq", "maxrate", "cleanup_freq", "timer", "app"}
    assert signature_of(Full).standard == every
    assert signature_of(celery.events.snapshot.Polaroid).standard == every

    class Old:
        def __init__(self, state, freq=1.0, maxrate=None, timer=None):
            pass

    assert signature_of(Old).standard == {"state", "freq", "maxrate", "timer"}
    assert given(Old) == {}


def test_a_function_may_have_options():
    def make(state, *, path: str, **kwargs):
        return Polaroid(state, **kwargs)

    signature = signature_of(make)
    assert signature.is_open
    assert converted({"path": "x", "other": "y"}, signature, "mod:make") == {
        "path": "x",
        "other": "y",
    }


# === extensions for another Python ===================================================


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
        return loader._explain_foreign("mod.Camera", caught.value)

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


def test_what_cannot_be_looked_up_is_passed_over(tmp_path, monkeypatch):
    (tmp_path / "x.cpython-39-x86_64-linux-gnu.so").touch()
    monkeypatch.setattr(sys, "path", ["x" * 5000, str(tmp_path)])
    first, second = ImportError("a", name="a"), ImportError("b", name="b")
    first.__context__, second.__context__ = second, first
    names = [ImportError("no", name=name) for name in ("../x", "*", "a..x", "")]
    for error in (*names, ValueError("x"), first):
        assert loader._explain_foreign("mod.Camera", error) is None
