"""The standard library that the standalone program carries for cameras."""

import contextlib
import importlib
import io
import pkgutil
import sys
import warnings
from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from typing import Final

#: What no camera needs: tests, windows, installers, tools for old code, and
#: what does something when it is imported.  readline is under the GPL.
LEFT_OUT: Final = frozenset(
    (
        *("test", "idlelib", "tkinter", "turtle", "turtledemo", "lib2to3"),
        *("distutils", "ensurepip", "venv", "readline", "_tkinter", "_gdbm"),
        *("antigravity", "this", "__phello__"),
    )
)
#: The last one needs a library of the machine, and is for Python's own prompt.
_PARTS_LEFT_OUT: Final = frozenset(("__main__", "test", "tests", "idle_test", "_minimal_curses"))


def modules() -> list[str]:
    """Return the modules there are on this machine, those in packages included."""
    return sorted(_walk(sys.stdlib_module_names - LEFT_OUT))


def _walk(names: Iterable[str]) -> Iterator[str]:
    for name in names:
        spec = find_spec(name) if name != "__main__" else None
        if spec is None:
            continue
        yield name
        yield from _below(name, spec.submodule_search_locations or ())


def _below(package: str, folders: Iterable[str]) -> Iterator[str]:
    for found in pkgutil.iter_modules(folders):
        if found.name in _PARTS_LEFT_OUT:
            continue
        name = f"{package}.{found.name}"
        yield name
        if found.ispkg:
            yield from _below(name, [f"{where}/{found.name}" for where in folders])


def broken(names: Iterable[str]) -> dict[str, str]:
    """Import the modules; return those that cannot be, with the reason."""
    failed = {}
    # Some print, and some warn that their days are numbered.
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        for name in names:
            try:
                importlib.import_module(name)
            except Exception as error:  # noqa: BLE001  (whatever keeps it out)
                failed[name] = f"{type(error).__name__}: {error}"
    return failed


def usable() -> list[str]:
    """Return the modules that can be imported on this machine."""
    names = modules()
    return sorted(set(names) - set(broken(names)))
