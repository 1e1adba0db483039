"""Finding a camera by its name, built in or a user's class, and its options."""

import contextlib
import difflib
import importlib
import inspect
import os
import platform
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.machinery import EXTENSION_SUFFIXES
from importlib.util import find_spec
from itertools import accumulate
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin, get_type_hints
from urllib.parse import parse_qsl

import msgspec

from evtools.cam.log import place, reason
from evtools.cam.options import BUILT_IN
from evtools.errors import EvtoolsError, UsageError
from evtools.text import sanitize
from evtools.trust import Guard, refuse_untrusted

#: Arguments of every camera, which have options of evcam.
STANDARD: Final = ("state", "freq", "maxrate", "cleanup_freq", "timer", "app")

#: What to do about code that is not for root.
_REMEDY: Final = (
    "run evcam as the owner of the code (--uid), give it to root, or use --allow-insecure-camera"
)
_CONSTRUCTOR: Final = (
    "write def __init__(self, state, **kwargs), which calls super().__init__(state, **kwargs)"
)
#: Methods that a camera may override: the arguments that they are called with, and the
#: methods that call them.
_CALLS: Final[Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]]] = {
    **dict.fromkeys(("install", "cancel", "capture", "cleanup"), ((), ())),
    **dict.fromkeys(("reopen", "close", "check", "describe"), ((), ())),
    "shutter": ((), ("capture",)),
    "on_shutter": (("state",), ("shutter",)),
    "on_cleanup": ((), ("cleanup",)),
    "observe": (("changes",), ()),
    # Under their old names they are not called.
    "snapshot": (("info",), ("capture", "expose")),
    "write": (("snapshot",), ("capture", "develop")),
    "restore": (("snapshot",), ("capture",)),
    "sweep": ((), ("on_cleanup",)),
}
#: Methods that are probably meant by those who give the keys other arguments.
_MEANT: Final = {"shutter": "on_shutter", "cleanup": "on_cleanup"}
#: Other names of the built-in cameras, and the similarity of a misspelt one.
_OTHER_NAMES: Final = {
    **dict.fromkeys(("postgresql", "psql", "pg"), "postgres"),
    **dict.fromkeys(("sqlite3", "db"), "sqlite"),
    **dict.fromkeys(("json", "ndjson", "jsonlines"), "jsonl"),
    **dict.fromkeys(("metrics", "prom"), "prometheus"),
}
_ALIKE: Final = 0.75
_HINT: Final = "name a class, as in mod.Camera or package.mod:Camera"


@dataclass(frozen=True, slots=True)
class Loaded:
    """A camera that was found: call it with the arguments that cameras are made with."""

    name: str
    make: Callable[..., Any]
    standard: frozenset[str]
    options: Mapping[str, Any]

    def __call__(self, state: Any, **standard: Any) -> Any:
        """Make the camera; raise UsageError if that fails.

        `standard` are those of STANDARD but the state; it gets those it takes.
        """
        taken = {n: v for n, v in standard.items() if n in self.standard}
        _refuse_unfit(self.make, (state,), taken | dict(self.options), self.name)
        try:
            camera = self.make(state, **taken, **self.options)
        except EvtoolsError:
            raise
        except TypeError as error:
            raise _failed(self.name, "cannot be made", error, _CONSTRUCTOR) from error
        except (Exception, SystemExit) as error:
            raise _failed(self.name, "cannot be made", error) from error
        if not isinstance(self.make, type) and not hasattr(camera, "install"):
            what = type(camera).__name__
            raise UsageError(
                f"{sanitize(self.name)} is not a camera: it is a function that returns {what}",
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
    """Find the camera of that name, and convert its `options`.

    A user's class is looked up where Python looks, then in the working directory and in
    `pythonpath`: nothing there can replace a module of ours.  As root, code is refused that
    others can write, unless `allow_insecure`.  Raise UsageError, in one line, for a name
    that cannot be imported or is not a camera, and for wrong options.
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
    return Loaded(kind, found, signature.standard, converted(given, signature, kind))


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


# --- options ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Signature:
    """The arguments of a camera's constructor.

    `options` are its own, with their types; `required` those without a default; `standard`
    those of STANDARD that it takes.  `is_open` says that it takes any other name, too.
    """

    options: Mapping[str, Any]
    required: frozenset[str]
    standard: frozenset[str]
    is_open: bool


def signature_of(make: Callable[..., Any]) -> Signature:
    """Return the arguments of a camera's class, or of a function that makes one.

    A constructor that hands on `**kwargs` takes the arguments of its bases, too.
    """
    functions = [make]
    if isinstance(make, type):
        own = [vars(kind)["__init__"] for kind in make.__mro__ if "__init__" in vars(kind)]
        functions = [function for function in own if function is not object.__init__]
    found: dict[str, inspect.Parameter] = {}
    hints: dict[str, Any] = {}
    is_open = True
    for function in functions:
        parameters = inspect.signature(function).parameters.values()
        with contextlib.suppress(Exception):  # names that only a type checker knows
            hints = get_type_hints(function, include_extras=True) | hints
        for parameter in parameters:
            found.setdefault(parameter.name, parameter)
        is_open = any(each.kind is each.VAR_KEYWORD for each in parameters)
        if not is_open:
            break
    options = {
        name: hints.get(name, type(parameter.default))
        for name, parameter in found.items()
        if name not in {*STANDARD, "self"}
        and parameter.kind in {parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY}
    }
    return Signature(
        options,
        frozenset(name for name in options if found[name].default is inspect.Parameter.empty),
        frozenset(STANDARD) if is_open else frozenset(STANDARD) & found.keys(),
        is_open,
    )


def converted(given: Mapping[str, Any], signature: Signature, camera: str) -> dict[str, Any]:
    """Return options, converted to the types of the constructor's arguments.

    Raise UsageError for an unknown one, a missing one, or a bad value.
    """
    options = {}
    for name, value in given.items():
        if name in STANDARD:
            raise UsageError(
                f"--camera-option {name} cannot be given",
                f"use --{name.replace('_', '-')}" if name not in {"state", "app"} else "",
            )
        if name not in signature.options and not signature.is_open:
            known = ", ".join(signature.options) or "none"
            raise UsageError(f"camera {camera} has no option {sanitize(name)}", f"it has: {known}")
        text = str(value).lower() if isinstance(value, bool) else str(value)
        if isinstance(value, list):  # of a settings file
            text = ",".join(map(str, value))
        try:
            options[name] = _convert(text, signature.options.get(name, str))
        except (ValueError, TypeError) as error:
            raise UsageError(f"--camera-option {sanitize(name)}: {sanitize(str(error))}") from None
    missing = sorted(signature.required - options.keys())
    if missing:
        raise UsageError(
            f"camera {camera} needs {missing[0]}",
            f"give it with --camera-option {missing[0]}=VALUE",
        )
    return options


_FLAGS: Final = {"yes": "true", "on": "true", "no": "false", "off": "false"}
_KINDS: Final = {bool: "yes or no", int: "a whole number", float: "a number"}


def _convert(text: str, kind: Any) -> Any:
    """Return a value of a type; texts stay as they are where the type is not known."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return next((each for each in arguments[1:] if callable(each)), str)(text)
    if origin in {Union, UnionType}:
        return _convert(text, next(each for each in arguments if each is not NoneType))
    if origin in {tuple, list, frozenset, set}:
        parts = filter(None, map(str.strip, text.split(",")))
        return origin(_convert(part, arguments[0]) for part in parts)
    if kind is Path:
        return Path(text)
    if kind not in _KINDS and origin is not Literal:
        return text
    word = _FLAGS.get(text.strip().lower(), text) if kind is bool else text
    try:
        return msgspec.convert(word.strip(), kind, strict=False)
    except msgspec.ValidationError:
        wanted = _KINDS.get(kind) or f"one of {', '.join(map(str, arguments))}"
        raise ValueError(f'"{text}" is not {wanted}') from None


# --- cameras of users ---------------------------------------------------------------


def _of_user(name: str, pythonpath: Sequence[str], *, check: bool) -> Any:
    module, attribute = _split(name)
    _extend_path(pythonpath)
    guard = Guard(_REMEDY)
    (guard.install if check else guard.lift)()
    try:
        # stdout is for what was asked for, whatever a module prints.
        with contextlib.redirect_stdout(sys.stderr):
            found = _import(module, check=check and os.geteuid() == 0)
    except UsageError:
        raise
    except (Exception, SystemExit) as error:
        known = _explain_foreign(name, error) or _explain_unreadable(name, error)
        raise (known or _failed(name, "cannot be imported", error)) from error
    for part in attribute.split("."):
        if not hasattr(found, part):
            raise UsageError(
                f"there is no {sanitize(attribute)} in {module} "
                f"({getattr(sys.modules[module], '__file__', 'built in')})",
                _suggestion(name) or _HINT,
            )
        found = getattr(found, part)
    if not callable(found):
        raise UsageError(f"{sanitize(name)} is not a camera: it is not a class", _HINT)
    if isinstance(found, type):
        _refuse_no_camera(found, name)
    return found


def _split(name: str) -> tuple[str, str]:
    """Return the module and the name of the class in it."""
    module, colon, attribute = name.partition(":")
    if not colon:
        module, _, attribute = name.rpartition(".")
    parts = [*module.split("."), *attribute.split(".")]
    if not all(part.isidentifier() for part in parts):
        raise UsageError(
            f"there is no camera {sanitize(name)}",
            _suggestion(name) or f"built in: {', '.join(BUILT_IN)}; else {_HINT}",
        )
    return module, attribute


def _suggestion(name: str) -> str:
    """Return a hint if a built-in camera is probably meant, else ""."""
    kind = name.partition(":")[0].lower()
    near = difflib.get_close_matches(kind, [*BUILT_IN, *_OTHER_NAMES], 1, _ALIKE)
    return f"did you mean {_OTHER_NAMES.get(near[0], near[0])}?" if near else ""


def _extend_path(pythonpath: Sequence[str]) -> None:
    """Look for users' modules here, too, after all other places."""
    folders = [str(Path.cwd()), *pythonpath]
    if getattr(sys, "frozen", False):  # there Python itself does not look at it
        folders += filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))
    for folder in folders:
        absolute = str(Path(folder).absolute())
        if absolute not in sys.path:
            sys.path.append(absolute)
    importlib.invalidate_caches()


def _import(module: str, *, check: bool) -> Any:
    """Import a module after the packages it is in, each checked before."""
    for name in accumulate(module.split("."), "{}.{}".format):
        parent = name.rpartition(".")[0]
        is_no_package = parent and not hasattr(sys.modules[parent], "__path__")
        try:
            spec = None if is_no_package else find_spec(name)
        except ValueError:  # a module without a spec, which is there already
            continue
        if spec is None:
            raise UsageError(
                f"there is no module {sanitize(name)}",
                _suggestion(name)
                or "looked where Python looks, in the working directory and in --pythonpath",
            )
        if check:
            refuse_untrusted(spec, _REMEDY)
        importlib.import_module(name)
    return sys.modules[module]


def _refuse_no_camera(found: Any, name: str) -> None:
    for method in ("install", "cancel"):
        if not callable(getattr(found, method, None)):
            raise UsageError(
                f"{sanitize(name)} is not a camera: it has no method {method}",
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
            _CONSTRUCTOR,
        ) from None


def _refuse_misfits(camera: Any, name: str) -> None:
    """Raise UsageError for methods that cannot be called as they will be."""
    for method, (arguments, callers) in _CALLS.items():
        if not _is_theirs(camera, method) or any(_is_theirs(camera, each) for each in callers):
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
    """Return whether a user's class has a method that its bases have, or had, too."""
    kinds = [kind for kind in type(camera).__mro__ if method in vars(kind)]
    if not kinds or (kinds[0] is kinds[-1] and method not in {"expose", "develop"}):
        return False
    return kinds[0].__module__.partition(".")[0] not in {"evtools", "celery"}


def _refuse_half_made(camera: Any, timer: Any, name: str) -> None:
    """Raise UsageError for a constructor that does not hand on its arguments."""
    if not hasattr(type(camera), "shutter_signal"):
        return  # it is made in its own way
    missing = [each for each in ("state", "freq", "timer") if not hasattr(camera, each)]
    if missing or (timer is not None and camera.timer is not timer):
        raise UsageError(
            f"the constructor of camera {sanitize(name)} does not hand"
            f" {missing[0] if missing else 'timer'} on to"
            " its base class, so that evcam could not take its snapshots",
            _CONSTRUCTOR,
        )


def _signature(function: Callable[..., Any]) -> inspect.Signature | None:
    """Return the signature of a function; None for one that is not written in Python."""
    try:
        return inspect.signature(function)
    except (ValueError, TypeError):
        return None


def _shown(signature: inspect.Signature | None) -> str:
    assert signature is not None, "only what has one can fail to fit"
    names = [str(each.replace(annotation=each.empty)) for each in signature.parameters.values()]
    return f"({sanitize(', '.join(names))})"


# --- why a module cannot be imported ------------------------------------------------

_NOT_IMPORTED: Final = re.compile(r"cannot import name '(\w+)'")
_TAG: Final = re.compile(r"(cpython|pypy)-?(\d)(\d+)")
#: Causes of an error that are looked at.
_CAUSES_MAX: Final = 20


def _failed(name: str, what: str, error: BaseException, hint: str = "") -> UsageError:
    file, line = place(error)
    if isinstance(error, SyntaxError) and error.filename:
        file, line = error.filename, error.lineno or 0
    return UsageError(
        f"camera {sanitize(name)} {what}: {sanitize(reason(error))} ({file}:{line})",
        hint or "the whole traceback: --debug",
    )


def _explain_unreadable(name: str, error: BaseException) -> UsageError | None:
    """Explain that a module of Python itself was not found.

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


def _explain_foreign(name: str, error: BaseException) -> UsageError | None:
    """Explain that an extension module was built for another Python.

    Python itself says of such a module that it is not there.
    """
    for missing in _missing(error):
        for file in _unusable(missing):
            tag = _TAG.search(file.name)
            assert tag is not None, "only such files are yielded"
            kind, major, minor = tag.groups()
            version = "{}.{}".format(*sys.version_info)
            ours = f"this is {platform.python_implementation()} {version}"
            if getattr(sys, "frozen", False):
                ours = f"this program contains Python {version}"
            return UsageError(
                f"camera {sanitize(name)} cannot be imported: {sanitize(str(file))} was built"
                f" for {'PyPy' if kind == 'pypy' else 'Python'} {major}.{minor}, and {ours}",
                "install it for this one: pip install --only-binary :all:"
                f" --python-version {version} --target DIR"
                f" {sanitize(missing.partition('.')[0])}, and name DIR with --pythonpath",
            )
    return None


def _missing(error: BaseException) -> Iterator[str]:
    """Yield the modules that were not found, of the error and those behind it."""
    cause: BaseException | None = error
    for _ in range(_CAUSES_MAX):
        if cause is None:
            return
        if isinstance(cause, ImportError) and cause.name:
            yield cause.name
            part = _NOT_IMPORTED.match(str(cause))
            if part:
                yield f"{cause.name}.{part[1]}"
        cause = cause.__cause__ or cause.__context__


def _unusable(name: str) -> Iterator[Path]:
    """Yield the extension modules of that name, if all are for other Pythons."""
    *packages, module = name.split(".")
    usable = {f"{module}{suffix}" for suffix in EXTENSION_SUFFIXES}
    if not all(map(str.isidentifier, (*packages, module))):
        return
    for folder in sys.path:
        try:
            found = sorted(Path(folder, *packages).glob(f"{module}.*.so"))
        except OSError:  # not for this user to read
            continue
        names = {file.name for file in found}
        if names and not names & usable:
            yield from (file for file in found if _TAG.search(file.name))
