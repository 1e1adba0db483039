"""Finding a camera by its name: a built-in one, or a user's class."""

import contextlib
import difflib
import importlib
import inspect
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import accumulate
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from evtools.cam.camera import Camera
from evtools.cam.camera_options import Signature, converted, signature_of
from evtools.cam.cameras import BUILT_IN
from evtools.cam.failures import place, reason
from evtools.cam.foreign import explain
from evtools.errors import EvtoolsError, UsageError
from evtools.text import sanitize
from evtools.trust import Guard, refuse_untrusted

#: What to do about code that is not for root.
_REMEDY = "run evcam as who owns it (--uid), give it to root, or use --allow-insecure-camera"
_MADE = "write def __init__(self, state, **kwargs), which calls super().__init__(state, **kwargs)"
#: How methods are called that a camera may have in place of those of its base: with
#: which arguments, and by which other method.
_CALLS: Mapping[str, tuple[tuple[str, ...], str]] = {
    **dict.fromkeys(("install", "cancel", "capture", "cleanup"), ((), "")),
    **dict.fromkeys(("reopen", "close", "check", "describe"), ((), "")),
    "shutter": ((), "capture"),
    "on_shutter": (("state",), "shutter"),
    "on_cleanup": ((), "cleanup"),
    "observe": (("changes",), ""),
    "expose": (("frame",), "capture"),
    "develop": (("picture",), "capture"),
    "restore": (("picture",), "capture"),
    "sweep": ((), "on_cleanup"),
}
#: What is meant by those who have these take other arguments.
_MEANT = {"shutter": "on_shutter", "cleanup": "on_cleanup"}
#: What some call the built-in cameras, and how alike a name must be to be meant.
_OTHER_NAMES = {
    **dict.fromkeys(("postgresql", "psql", "pg"), "postgres"),
    **dict.fromkeys(("sqlite3", "db"), "sqlite"),
    **dict.fromkeys(("json", "ndjson", "jsonlines"), "jsonl"),
    **dict.fromkeys(("metrics", "prom"), "prometheus"),
}
_ALIKE = 0.75
_HINT = "name a class, as in mod.Camera or package.mod:Camera"


@dataclass(frozen=True, slots=True)
class Loaded:
    """A camera that was found: call it with what cameras are made with.

    `exposes` says that it is one of those which look quickly and write slowly.
    """

    name: str
    make: Callable[..., Any]
    signature: Signature
    options: Mapping[str, Any]

    @property
    def exposes(self) -> bool:
        """Whether it is a `Camera`, as the built-in ones."""
        return isinstance(self.make, type) and issubclass(self.make, Camera)

    def __call__(self, state: Any, **standard: Any) -> Any:
        """Make the camera; raise UsageError if that fails.

        `standard` are those of STANDARD but the state; it gets those it takes.
        """
        taken = {n: v for n, v in standard.items() if n in self.signature.standard}
        _refuse_unfit(self.make, (state,), taken | dict(self.options), self.name)
        try:
            camera = self.make(state, **taken, **self.options)
        except EvtoolsError:
            raise
        except TypeError as error:
            raise _failed(self.name, "cannot be made", error, _MADE) from error
        except (Exception, SystemExit) as error:
            raise _failed(self.name, "cannot be made", error) from error
        if not isinstance(self.make, type) and not hasattr(camera, "install"):
            what = type(camera).__name__
            raise UsageError(
                f"{sanitize(self.name)} is no camera: it is a function that returns {what}",
                "name a class, or a function that returns a camera",
            )
        _refuse_no_camera(camera, self.name)
        _refuse_misfits(camera, self.name)
        _refuse_half_made(camera, standard.get("timer"), self.name)
        return camera


def load_camera(
    name: str,
    *,
    options: Mapping[str, Any] | None = None,
    pythonpath: Sequence[str] = (),
    allow_insecure: bool = False,
) -> Loaded:
    """Find the camera that `name` stands for, and convert its `options`.

    A user's class is looked up where Python looks, then in the working
    directory and in `pythonpath`: nothing there can take the place of a module
    of ours.  As root, code is refused that others can write, unless
    `allow_insecure`.  Raise UsageError, in one line, for what cannot be
    imported, is no camera, or does not take these options.
    """
    given = dict(options or {})
    kind, colon, value = name.partition(":")
    if kind in BUILT_IN:
        found, of_name = _built_in(kind, value if colon else None)
        twice = sorted(given.keys() & of_name.keys())
        if twice:
            raise UsageError(
                f"option {twice[0]} of camera {kind} is given twice",
                f"it is in {sanitize(name)} already",
            )
        given |= of_name
    else:
        kind, found = name, _of_user(name, pythonpath, check=not allow_insecure)
    signature = signature_of(found)
    return Loaded(kind, found, signature, converted(given, signature, kind))


# --- built-in cameras ---------------------------------------------------------------


def _built_in(name: str, value: str | None) -> tuple[Any, dict[str, str]]:
    """Return a class, and the options that follow its name."""
    entry = BUILT_IN[name]
    module, _, attribute = entry.where.partition(":")
    found = getattr(importlib.import_module(module), attribute)
    if value is None:
        return found, {}
    options = {}
    if entry.has_query:
        value, _, query = value.partition("?")
        options = dict(parse_qsl(query, keep_blank_values=True))
    return found, ({entry.value: value} if value else {}) | options


# --- cameras of users ---------------------------------------------------------------


def _of_user(name: str, pythonpath: Sequence[str], *, check: bool) -> Any:
    module, attribute = _split(name)
    _extend_path(_folders(pythonpath))
    guard = Guard(_REMEDY)
    (guard.install if check else guard.lift)()
    try:
        # stdout is for what was asked for, whatever a module prints.
        with contextlib.redirect_stdout(sys.stderr):
            found = _import(module, check=check and os.geteuid() == 0)
    except UsageError:
        raise
    except (Exception, SystemExit) as error:
        known = explain(name, error, sys.path) or _unreadable(name, error)
        raise (known or _failed(name, "cannot be imported", error)) from error
    for part in attribute.split("."):
        if not hasattr(found, part):
            raise UsageError(
                f"there is no {sanitize(attribute)} in {module} "
                f"({getattr(sys.modules[module], '__file__', 'built in')})",
                _meant(name) or _HINT,
            )
        found = getattr(found, part)
    if not callable(found):
        raise UsageError(f"{sanitize(name)} is no camera: it is no class", _HINT)
    if isinstance(found, type):
        _refuse_no_camera(found, name)
    return found


def _unreadable(name: str, error: BaseException) -> UsageError | None:
    """Return an error for the user if a module of Python itself was not found.

    After `--uid`, Python's library may lie where the new user cannot look.
    """
    missing = error.name if isinstance(error, ImportError) else None
    if (missing or "").partition(".")[0] not in sys.stdlib_module_names:
        return None
    return UsageError(
        f"camera {sanitize(name)} cannot be imported: user {os.geteuid()} does not find"
        f" Python's own {missing} in {Path(os.__file__).parent}",
        "let all users read that folder, or run evcam with a Python that they can read",
    )


def _split(name: str) -> tuple[str, str]:
    module, colon, attribute = name.partition(":")
    if not colon:
        module, _, attribute = name.rpartition(".")
    parts = [*module.split("."), *attribute.split(".")]
    if not all(part.isidentifier() for part in parts):
        raise UsageError(
            f"there is no camera {sanitize(name)}",
            _meant(name) or f"built in: {', '.join(BUILT_IN)}; else {_HINT}",
        )
    return module, attribute


def _meant(name: str) -> str:
    """Return which built-in camera was probably meant, or nothing."""
    kind = name.partition(":")[0].lower()
    near = difflib.get_close_matches(kind, [*BUILT_IN, *_OTHER_NAMES], 1, _ALIKE)
    return f"did you mean {_OTHER_NAMES.get(near[0], near[0])}?" if near else ""


def _folders(pythonpath: Sequence[str]) -> list[str]:
    """Return where to look for users' modules after all other places."""
    folders = [str(Path.cwd()), *pythonpath]
    if getattr(sys, "frozen", False):  # there Python itself does not look at it
        folders += filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))
    return [str(Path(folder).absolute()) for folder in folders]


def _extend_path(folders: Sequence[str]) -> None:
    for folder in folders:
        if folder not in sys.path:
            sys.path.append(folder)
    importlib.invalidate_caches()


def _import(module: str, *, check: bool) -> Any:
    """Import a module after the packages it is in, each looked at before."""
    for name in accumulate(module.split("."), "{}.{}".format):
        try:
            spec = None if _is_no_package(name) else find_spec(name)
        except ValueError:  # a module without a spec, which is there already
            continue
        if spec is None:
            raise UsageError(
                f"there is no module {sanitize(name)}",
                _meant(name)
                or "looked where Python looks, in the working directory and in --pythonpath",
            )
        if check:
            refuse_untrusted(spec, _REMEDY)
        importlib.import_module(name)
    return sys.modules[module]


def _is_no_package(name: str) -> bool:
    """Tell whether what should hold a module has no room for one."""
    parent = name.rpartition(".")[0]
    return bool(parent) and not hasattr(sys.modules[parent], "__path__")


def _refuse_no_camera(found: Any, name: str) -> None:
    for method in ("install", "cancel"):
        if not callable(getattr(found, method, None)):
            raise UsageError(
                f"{sanitize(name)} is no camera: it has no method {method}",
                "make it a subclass of evtools.Polaroid or evtools.Camera",
            )


def _refuse_unfit(
    make: Callable[..., Any], values: tuple[Any, ...], named: Mapping[str, Any], name: str
) -> None:
    """Raise UsageError for a constructor that does not take what cameras are given."""
    taken = _signature(make)
    if taken is None:
        return
    try:
        taken.bind(*values, **named)
    except TypeError as error:
        given = ", ".join(("state", *named))
        raise UsageError(
            f"camera {sanitize(name)} cannot be made: it takes {_shown(taken)}, and is"
            f" given ({given}): {error}",
            _MADE,
        ) from None


def _refuse_misfits(camera: Any, name: str) -> None:
    """Raise UsageError for methods that cannot be called as they will be."""
    for method, (arguments, caller) in _CALLS.items():
        if not _is_theirs(camera, method) or (caller and _is_theirs(camera, caller)):
            continue
        found = getattr(camera, method)
        where = f"{sanitize(name)}.{method}"
        if inspect.iscoroutinefunction(found) or inspect.isasyncgenfunction(found):
            raise UsageError(
                f"{where} is async, and evcam would not wait for it",
                f"write def {method}, with asyncio.run(...) inside",
            )
        taken = _signature(found)
        try:
            if taken is not None:
                taken.bind(*arguments)
        except TypeError:
            meant = _MEANT.get(method, method)
            advice = "write it as" if meant == method else "rename it to"
            better = ", ".join(("self", *_CALLS[meant][0]))
            raise UsageError(
                f"{where} takes {_shown(taken)}, and evcam calls {method}({', '.join(arguments)})",
                f"{advice} {meant}({better})",
            ) from None


def _is_theirs(camera: Any, method: str) -> bool:
    """Tell whether a camera has a method of its own that its bases have, too."""
    kinds = [kind for kind in type(camera).__mro__ if method in vars(kind)]
    if not kinds or kinds[0] is kinds[-1]:
        return False
    return kinds[0].__module__.partition(".")[0] not in {"evtools", "celery"}


def _refuse_half_made(camera: Any, timer: Any, name: str) -> None:
    """Raise UsageError for a constructor that does not hand on what it was given."""
    if not hasattr(type(camera), "shutter_signal"):
        return  # it is made in its own way
    missing = [each for each in ("state", "freq", "timer") if not hasattr(camera, each)]
    if missing or (timer is not None and camera.timer is not timer):
        what = missing[0] if missing else "timer"
        raise UsageError(
            f"the constructor of camera {sanitize(name)} does not hand {what} on to"
            " its base class, so that evcam could not take its shots",
            _MADE,
        )


def _signature(function: Callable[..., Any]) -> inspect.Signature | None:
    """Return what a function takes; None for one that is not written in Python."""
    try:
        return inspect.signature(function)
    except (ValueError, TypeError):
        return None


def _shown(signature: inspect.Signature | None) -> str:
    assert signature is not None, "only what has one can fail to fit"
    names = [str(each.replace(annotation=each.empty)) for each in (signature.parameters.values())]
    return f"({sanitize(', '.join(names))})"


def _failed(name: str, what: str, error: BaseException, hint: str = "") -> UsageError:
    file, line = place(error)
    if isinstance(error, SyntaxError) and error.filename:
        file, line = error.filename, error.lineno or 0
    return UsageError(
        f"camera {sanitize(name)} {what}: {sanitize(reason(error))} ({file}:{line})",
        hint or "the whole traceback: --debug",
    )
