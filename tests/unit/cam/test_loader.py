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
from evtools.cam.loader import Loaded, load_camera
from evtools.cam.options import BuiltIn
from evtools.cam.schedule import Timer
from evtools.errors import OutputError, UsageError
from evtools.state import State

if TYPE_CHECKING:
    from nowhere import Unknown

OURS = "{}.{}".format(*sys.version_info)


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
        from evtools.errors import OutputError
        print("printed at import")
        NUMBER = 3
        class Camera1(Polaroid):
            def __init__(self, *args, path: str = "x", **kwargs):
                super().__init__(*args, **kwargs)
                self.path = path
        class Outer:
            class Inner(Camera1): pass
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
        class Full(Polaroid):
            def __init__(self, *args, **kwargs):
                raise OutputError("the disk is full")
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


@pytest.mark.parametrize(
    "name", ["mycam.Camera1", "mycam:Camera1", "mycam:Outer.Inner", "mycam:make"]
)
def test_a_class_or_a_function_is_found_in_the_working_directory(mycam, name, capsys):
    loaded = load_camera(name, options={"path": "y"})
    camera = made(loaded)
    assert (camera.path, camera.freq, camera.cleanup_freq) == ("y", 2.0, 60.0)
    assert loaded.name == name
    # What a module prints does not go to stdout.
    assert capsys.readouterr() == ("", "printed at import\n")


def test_it_may_be_celerys(folder):
    loaded = load_camera("celery.events.snapshot.Polaroid")
    assert isinstance(made(loaded), celery.events.snapshot.Polaroid)


def test_it_is_looked_up_after_installed_modules_in_given_folders(tmp_path, folder, monkeypatch):
    there = tmp_path / "there"
    write(folder / "json.py", "raise RuntimeError('shadowed')")
    write(there / "mypack2" / "__init__.py", "")
    for package in ("mypack", "mypack2"):
        write(there / package / "cams.py", "import json\nfrom evtools import Polaroid as Camera")
    name = "mypack.cams.Camera"
    monkeypatch.setenv("PYTHONPATH", f"{there}{os.pathsep}")
    refused(name)
    for package in ("mypack", "mypack2"):
        assert load_camera(f"{package}.cams.Camera", pythonpath=[str(there)]).make is Polaroid
    assert sys.path[-2:] == [str(folder), str(there)]
    # A binary looks at PYTHONPATH, too.
    sys.path.pop()
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    load_camera(name)


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
        ("mycam:\x1b[31m", "there is no camera", "mod.Camera"),
        ("sqllite:x", "", "did you mean sqlite?"),
        ("sqlite3:x", "", "did you mean sqlite?"),
        ("json:x", "", "did you mean jsonl?"),
        ("promethius", "there is no camera", "did you mean prometheus?"),
        ("postgresql://u@h/d", "there is no camera", "did you mean postgres?"),
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
def test_a_module_that_fails_is_named_with_the_place(folder, code, complaint):
    (folder / "mycam.py").write_text(code)
    error = refused("mycam.Camera")
    assert error.message.startswith(f"camera mycam.Camera cannot be imported: {complaint}")
    assert f"{folder}/mycam.py:" in error.message


def test_a_python_that_the_user_cannot_read_is_named(folder):
    code = "raise ModuleNotFoundError('No module named pprint', name='pprint')"
    (folder / "mycam.py").write_text(code)
    error = refused("mycam.Camera")
    assert "does not find Python's own pprint in /" in error.message
    assert "let all users read that folder" in error.hint


@pytest.mark.parametrize(
    ("name", "error", "complaint"),
    [
        ("mycam.Fails", UsageError, "camera mycam.Fails cannot be made: ValueError: no room ("),
        ("mycam.Leaves", UsageError, "camera mycam.Leaves cannot be made: SystemExit: 3 ("),
        ("mycam:wrong", UsageError, "mycam:wrong is not a camera: it is a function that returns"),
        ("mycam.Full", OutputError, "the disk is full"),
    ],
)
def test_one_that_cannot_be_made_is_refused(mycam, name, error, complaint):
    with pytest.raises(error) as caught:
        made(load_camera(name))
    assert caught.value.message.startswith(complaint)


INIT = "write def __init__(self, state, **kwargs), which calls super()"
NOT_ON = "the constructor of camera mycam.Camera does not hand"
UNMADE = "camera mycam.Camera cannot be made:"
# fmt: off
MISFITS = [
    ("def shutter(self, state): pass",
     "shutter takes (state), and evcam calls shutter()", "rename it to on_shutter(self, state)"),
    ("def cleanup(self, state): pass",
     "cleanup takes (state), and evcam calls cleanup()", "rename it to on_cleanup(self)"),
    ("def on_shutter(self): pass",
     "on_shutter takes (), and evcam calls on_shutter(st", "write it as on_shutter(self, state)"),
    ("def on_cleanup(self, state, older=1): pass",
     "on_cleanup takes (state, older=1), and evcam calls on_", "write it as on_cleanup(self)"),
    ("async def on_shutter(self, state): pass",
     "on_shutter is async, and evcam would not wait", "write def on_shutter, with asyncio.run("),
    ("def __init__(self): pass", f"{UNMADE} it takes (), and is given (state", INIT),
    ("def __init__(self, state, **kwargs): pass", f"{NOT_ON} state on", INIT),
    ("def __init__(self, state, **kwargs): super().__init__(state)", f"{NOT_ON} timer on", INIT),
    ("def __init__(self, state, **kwargs): super().__init__(**kwargs)", f"{UNMADE} TypeErr", INIT),
]
# fmt: on


@pytest.mark.parametrize(("code", "complaint", "advice"), MISFITS)
@pytest.mark.parametrize("base", ["evtools.Camera", "celery.events.snapshot.Polaroid"])
def test_a_method_that_cannot_be_called_is_refused_with_what_to_write(
    folder, base, code, complaint, advice
):
    module = f"import celery.events.snapshot, evtools\nclass Camera({base}):\n    {code}\n"
    write(folder / "mycam.py", module)
    with pytest.raises(UsageError) as caught:
        made(load_camera("mycam.Camera"))
    assert complaint in caught.value.message
    assert caught.value.hint.startswith(advice)


def test_methods_that_call_each_other_otherwise_are_left_alone(folder):
    write(
        folder / "mycam.py",
        """
        from evtools import Camera, Polaroid
        class Camera1(Polaroid):
            def capture(self):
                self.shutter(self.state, 1)
            def shutter(self, state, number):
                self.on_shutter()
            def on_shutter(self, *args):
                pass
        class Old(Camera):
            def expose(self, frame):
                pass
            def develop(self, picture):
                self.write("x", "y")
            def write(self, name, text):
                pass
            def snapshot(self):
                pass
        """,
    )
    made(load_camera("mycam.Camera1"))
    made(load_camera("mycam.Old"))


def test_root_loads_nothing_that_others_can_write_and_another_user_everything(mycam, monkeypatch):
    monkeypatch.setattr(trust, "_ROOT", -1)
    monkeypatch.setattr(loader.os, "geteuid", lambda: 0)
    assert "others than root can write" in refused("mycam.Camera1").message
    assert "mycam" not in sys.modules
    load_camera("mycam.Camera1", allow_insecure=True)
    del sys.modules["mycam"]
    monkeypatch.setattr(loader.os, "geteuid", lambda: 1000)
    load_camera("mycam.Camera1")
    # A module without a spec is there all the same.
    monkeypatch.setattr(sys.modules["mycam"], "__spec__", None)
    load_camera("mycam.Camera1")


# --- built-in cameras --------------------------------------------------------------


@pytest.fixture
def built_in(monkeypatch, mycam):
    """One built-in camera of each kind, which come from users' code here."""
    table = {
        "file": BuiltIn("mycam:Camera1", "path"),
        "url": BuiltIn("mycam:Camera1", "path", has_query=False),
    }
    monkeypatch.setattr(loader, "BUILT_IN", table)
    monkeypatch.syspath_prepend(str(mycam))


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("file", {}),
        ("file:", {}),
        ("file:a:b", {"path": "a:b"}),
        ("file:?path=y%20z", {"path": "y z"}),
        ("url:postgresql://h/db?sslmode=off", {"path": "postgresql://h/db?sslmode=off"}),
    ],
)
def test_what_follows_the_name_of_a_built_in_one_are_options(built_in, name, options):
    loaded = load_camera(name)
    assert loaded.options == options
    assert loaded.name == name.partition(":")[0]
    assert made(loaded).path == options.get("path", "x")


def test_an_option_cannot_be_given_twice(built_in):
    error = refused("file:x", options={"path": "y"})
    assert error.message == "option path of camera file is given twice"
    assert "has no option keep" in refused("file:x?keep=30d").message
    assert load_camera("file", options={"path": "y"}).options == {"path": "y"}


# --- options ------------------------------------------------------------------------


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


class Bare(Polaroid):
    """Has no annotations but one that cannot be evaluated."""

    def __init__(
        self, state, where="x", often=3, share=0.5, *, loud=False, x: Unknown = 1, **kwargs
    ):
        super().__init__(state, **kwargs)


def given(kind=Full, **options):
    if kind is Full:
        options = {"path": "/tmp/x"} | options
    loaded = Loaded("mod.Camera", kind)
    loaded.take(options)
    return loaded.options


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
        ("text", True, "true"),
        ("levels", [1, 2.5], (1.0, 2.5)),
        ("keep", 30, 30.0),
    ],
)
def test_options_are_converted_to_the_types_of_the_constructor(name, text, value):
    assert given(**{name: text})[name] == value
    assert type(given(**{name: text})[name]) in {type(value), type(Path())}


OPTION = "--camera-option "
HAS = "it has: path, keep, size, number, share, loud, form, levels, text"
# fmt: off
BAD = [
    (Full, "number", "x", f'{OPTION}number: "x" is not a whole number', None),
    (Full, "share", "\x1b[31m", f"{OPTION}share: ", None),
    (Full, "loud", "maybe", f'{OPTION}loud: "maybe" is not yes or no', None),
    (Full, "form", "round", f'{OPTION}form: "round" is not one of short, long', None),
    (Full, "keep", "soon", f'{OPTION}keep: invalid duration "soon"', None),
    (Full, "size", "big", f'{OPTION}size: invalid size "big"', None),
    (Full, "levels", "1,x", f'{OPTION}levels: "x" is not a number', None),
    (Full, "freq", "1", f"{OPTION}freq cannot be given", "use --freq"),
    (Full, "cleanup_freq", "1", f"{OPTION}cleanup_freq cannot be given", "use --cleanup-freq"),
    (Full, "state", "1", f"{OPTION}state cannot be given", ""),
    (Full, "nope", "1", "camera mod.Camera has no option nope", HAS),
    (Polaroid, "nope", "1", "camera mod.Camera has no option nope", "it has: none"),
]
# fmt: on


@pytest.mark.parametrize(("kind", "name", "text", "complaint", "hint"), BAD)
def test_a_bad_option_is_refused_in_one_line(kind, name, text, complaint, hint):
    with pytest.raises(UsageError) as caught:
        given(kind, **{name: text})
    assert caught.value.message.startswith(complaint)
    assert caught.value.message.isprintable()
    assert hint is None or caught.value.hint == hint


def test_options_without_a_default_must_be_given():
    with pytest.raises(UsageError, match=r"camera mod\.Camera needs path"):
        Loaded("mod.Camera", Full).take({})


def test_defaults_stand_in_for_annotations():
    options = given(Bare, where="x", often="7", share="0.25", loud="yes", x="7")
    assert options == {"where": "x", "often": 7, "share": 0.25, "loud": True, "x": 7}


def test_a_camera_need_not_take_all_standard_arguments_and_a_function_may_take_any():
    class Old:
        def __init__(self, state, freq=1.0, maxrate=None, timer=None):
            pass

    def make(state, *, path: str, **kwargs):
        return Polaroid(state, **kwargs)

    every = {"state", "freq", "maxrate", "cleanup_freq", "timer", "app"}
    assert Loaded("x", Full).standard == every
    assert Loaded("x", celery.events.snapshot.Polaroid).standard == every
    assert Loaded("x", Old).standard == {"state", "freq", "maxrate", "timer"}
    assert given(Old) == {}
    options = {"path": "x", "other": "y"}
    assert given(make, **options) == options


# --- extensions for another Python --------------------------------------------------


@pytest.fixture
def package(tmp_path, folder):
    """Load a camera from a package with an extension; return why that fails."""

    def make(extension, source, name="mypack"):
        write(folder / name / "__init__.py", source)
        if extension:
            (folder / name / extension).write_bytes(b"\x7fELF")
        return refused(f"{name}.Camera")

    return make


SOURCES = [
    "from mypack import _native\n",
    "from mypack._native import thing\n",
    "import mypack._native\n",
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
def test_the_file_and_its_python_are_named(package, folder, extension, python, source):
    error = package(extension, source)
    assert str(folder / "mypack" / extension) in error.message
    assert f"was built for {python}" in error.message
    assert f"--python-version {OURS} --target DIR mypack" in error.hint


def test_the_standalone_program_names_the_python_that_it_contains(package, monkeypatch):
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    error = package("_native.cpython-39-x86_64-linux-gnu.so", SOURCES[0])
    assert f"this program contains Python {OURS}" in error.message


@pytest.mark.parametrize(
    "extension",
    [
        "",
        "_other.cpython-39-x86_64-linux-gnu.so",
        "_native.debug.so",
        f"_native{importlib.machinery.EXTENSION_SUFFIXES[0]}",
    ],
)
def test_a_module_that_is_missing_or_for_this_python_needs_no_explanation(package, extension):
    assert package(extension, SOURCES[1]).hint == "the whole traceback: --debug"
