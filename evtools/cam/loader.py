"""Finding a camera by its name, built in or a user's class, and its options."""

import contextlib
import difflib
import importlib
import inspect
import os
import platform
import re
import sys
from collections.abc import Callable, Mapping, Sequence
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
_CLASS: Final = "name a class, as in mod.Camera or package.mod:Camera"
#: Other names of the built-in cameras, and the similarity of a misspelt one.
_OTHER_NAMES: Final = {
    **dict.fromkeys(("postgresql", "psql", "pg"), "postgres"),
    **dict.fromkeys(("sqlite3", "db"), "sqlite"),
    "ch": "clickhouse",
    **dict.fromkeys(("json", "ndjson", "jsonlines"), "jsonl"),
    **dict.fromkeys(("metrics", "prom"), "prometheus"),
    **dict.fromkeys(("opentelemetry", "otel", "traces"), "otlp"),
}
_ALIKE: Final = 0.75


class Loaded:
    """A camera that was found: call it with the arguments that cameras are made with.

    `make` is its class, or a function that makes one.  It takes `known` options, by name with their
    types, of which `required` have no default, and of STANDARD those in `standard`.  A constructor
    that hands on `**kwargs` takes the arguments of its bases, too, and any if it `is_open`.
    """

    def __init__(self, name: str, make: Callable[..., Any]) -> None:
        self.name, self.make = name, make
        #: The options that it is made with.
        self.options: dict[str, Any] = {}
        functions = [make]
        if isinstance(make, type):
            own = [vars(kind)["__init__"] for kind in make.__mro__ if "__init__" in vars(kind)]
            functions = [function for function in own if function is not object.__init__]
        found: dict[str, inspect.Parameter] = {}
        hints: dict[str, Any] = {}
        self.is_open = True
        for function in functions:
            parameters = inspect.signature(function).parameters
            with contextlib.suppress(Exception):  # names that only a type checker knows
                hints = get_type_hints(function, include_extras=True) | hints
            for key, parameter in parameters.items():
                found.setdefault(key, parameter)
            self.is_open = any(each.kind is each.VAR_KEYWORD for each in parameters.values())
            if not self.is_open:
                break
        self.known = {
            key: hints.get(key, type(parameter.default))
            for key, parameter in found.items()
            if key not in {*STANDARD, "self"}
            and parameter.kind in {parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY}
        }
        self.required = {key for key in self.known if found[key].default is inspect.Parameter.empty}
        self.standard = {key for key in STANDARD if self.is_open or key in found}

    def take(self, given: Mapping[str, Any]) -> None:
        """Convert options to the types of the constructor's arguments.

        Raise UsageError for an unknown one, a missing one, or a bad value.
        """
        for name, value in given.items():
            if name in STANDARD:
                hint = "" if name in {"state", "app"} else f"use --{name.replace('_', '-')}"
                raise UsageError(f"--camera-option {name} cannot be given", hint)
            if name not in self.known and not self.is_open:
                text = f"camera {self.name} has no option {sanitize(name)}"
                raise UsageError(text, f"it has: {', '.join(self.known) or 'none'}")
            text = str(value).lower() if isinstance(value, bool) else str(value)
            if isinstance(value, list):  # of a settings file
                text = ",".join(map(str, value))
            try:
                self.options[name] = _convert(text, self.known.get(name, str))
            except (ValueError, TypeError) as error:
                text = f"--camera-option {sanitize(name)}: {sanitize(str(error))}"
                raise UsageError(text) from None
        missing = sorted(self.required - self.options.keys())
        if missing:
            hint = f"give it with --camera-option {missing[0]}=VALUE"
            raise UsageError(f"camera {self.name} needs {missing[0]}", hint)

    def __call__(self, state: Any, **standard: Any) -> Any:
        """Make the camera with those of STANDARD that it takes; raise UsageError if that fails."""
        taken = {name: value for name, value in standard.items() if name in self.standard}
        taken |= self.options
        misfit = _misfit(self.make, state, **taken)
        if misfit:
            given = f"it takes {misfit[0]}, and is given ({', '.join(('state', *taken))})"
            text = f"camera {sanitize(self.name)} cannot be made: {given}: {misfit[1]}"
            raise UsageError(text, _CONSTRUCTOR)
        try:
            camera = self.make(state, **taken)
        except EvtoolsError:
            raise
        except (Exception, SystemExit) as error:
            hint = _CONSTRUCTOR if isinstance(error, TypeError) else ""
            raise _failed(self.name, "cannot be made", error, hint) from error
        if not isinstance(self.make, type) and not hasattr(camera, "install"):
            why = f"it is a function that returns {type(camera).__name__}"
            raise _no_camera(self.name, why, "name a class, or a function that returns a camera")
        _refuse_misfits(camera, self.name, standard.get("timer"))
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
    kind, _, value = name.partition(":")
    if kind in BUILT_IN:
        entry = BUILT_IN[kind]
        module, _, attribute = entry.where.partition(":")
        found = getattr(importlib.import_module(module), attribute)
        if entry.has_query:
            value, _, query = value.partition("?")
        else:
            value, query = _taken_out(value, entry.in_url)
        of_name = {entry.value: value} if value else {}
        of_name |= parse_qsl(query, keep_blank_values=True)
        twice = sorted(given.keys() & of_name.keys())
        if twice:
            text = f"option {twice[0]} of camera {kind} is given twice"
            raise UsageError(text, f"it is in {sanitize(name)} already")
        given |= of_name
    else:
        kind, found = name, _of_user(name, pythonpath, check=not allow_insecure)
    loaded = Loaded(kind, found)
    loaded.take(given)
    return loaded


def _taken_out(url: str, names: Sequence[str]) -> tuple[str, str]:
    # A URL, or @FILE with one, without these members of its query, and a query of them.
    place, _, query = url.partition("?")
    members = query.split("&")
    ours = [each for each in members if each.partition("=")[0] in names]
    if not ours or not (place.startswith("@") or "://" in place):
        return url, ""
    others = "&".join(each for each in members if each not in ours)
    return f"{place}?{others}" if others else place, "&".join(ours)


_FLAGS: Final = {"yes": "true", "on": "true", "no": "false", "off": "false"}
_KINDS: Final = {bool: "yes or no", int: "a whole number", float: "a number"}


def _convert(text: str, kind: Any) -> Any:
    # Texts stay as they are where the type is not known.
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


def _of_user(name: str, pythonpath: Sequence[str], *, check: bool) -> Any:
    module, colon, attribute = name.partition(":")
    if not colon:
        module, _, attribute = name.rpartition(".")
    if not all(map(str.isidentifier, (*module.split("."), *attribute.split(".")))):
        hint = _suggestion(name) or f"built in: {', '.join(BUILT_IN)}; else {_CLASS}"
        raise UsageError(f"there is no camera {sanitize(name)}", hint)
    # After all other places.
    folders = [str(Path.cwd()), *pythonpath]
    if getattr(sys, "frozen", False):  # there Python itself does not look at it
        folders += filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))
    for folder in folders:
        absolute = str(Path(folder).absolute())
        if absolute not in sys.path:
            sys.path.append(absolute)
    importlib.invalidate_caches()
    guard = Guard(_REMEDY)
    (guard.install if check else guard.lift)()
    try:
        # stdout is for what was asked for, whatever a module prints.
        with contextlib.redirect_stdout(sys.stderr):
            found = _import(module, check=check and os.geteuid() == 0)
    except UsageError:
        raise
    except (Exception, SystemExit) as error:
        raise _explained(name, error) or _failed(name, "cannot be imported", error) from error
    for part in attribute.split("."):
        if not hasattr(found, part):
            where = getattr(sys.modules[module], "__file__", "built in")
            text = f"there is no {sanitize(attribute)} in {module} ({where})"
            raise UsageError(text, _suggestion(name) or _CLASS)
        found = getattr(found, part)
    if not callable(found):
        raise _no_camera(name, "it is not a class", _CLASS)
    if isinstance(found, type):
        _refuse_without_methods(found, name)
    return found


def _import(module: str, *, check: bool) -> Any:
    # After the packages it is in, each checked before.
    for name in accumulate(module.split("."), "{}.{}".format):
        parent = name.rpartition(".")[0]
        is_no_package = parent and not hasattr(sys.modules[parent], "__path__")
        try:
            spec = None if is_no_package else find_spec(name)
        except ValueError:  # a module without a spec, which is there already
            continue
        if spec is None:
            places = "looked where Python looks, in the working directory and in --pythonpath"
            raise UsageError(f"there is no module {sanitize(name)}", _suggestion(name) or places)
        if check:
            refuse_untrusted(spec, _REMEDY)
        importlib.import_module(name)
    return sys.modules[module]


def _suggestion(name: str) -> str:
    # A hint if a built-in camera is probably meant, else "".
    kind = name.partition(":")[0].lower()
    near = difflib.get_close_matches(kind, [*BUILT_IN, *_OTHER_NAMES], 1, _ALIKE)
    return f"did you mean {_OTHER_NAMES.get(near[0], near[0])}?" if near else ""


def _failed(name: str, what: str, error: BaseException, hint: str = "") -> UsageError:
    file, line = place(error)
    if isinstance(error, SyntaxError) and error.filename:
        file, line = error.filename, error.lineno or 0
    text = f"camera {sanitize(name)} {what}: {sanitize(reason(error))} ({file}:{line})"
    return UsageError(text, hint or "the whole traceback: --debug")


# --- whether it is a camera ---------------------------------------------------------

#: Methods that a camera may override: the arguments that they are called with, and the
#: methods that call them.
_CALLS: Final[Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]]] = {
    **dict.fromkeys(("install", "cancel", "capture", "cleanup"), ((), ())),
    **dict.fromkeys(("reopen", "close", "check", "describe"), ((), ())),
    "shutter": ((), ("capture",)),
    "on_shutter": (("state",), ("shutter",)),
    "on_cleanup": ((), ("cleanup",)),
    "observe": (("changes",), ()),
    "persist": ((), ()),
    # Under their old names they are not called.
    "snapshot": (("info",), ("capture", "expose")),
    "write": (("snapshot",), ("capture", "develop")),
    "restore": (("snapshot",), ("capture",)),
    "sweep": ((), ("on_cleanup",)),
}
#: Methods that are probably meant by those who give the keys other arguments.
_MEANT: Final = {"shutter": "on_shutter", "cleanup": "on_cleanup"}


def _no_camera(name: str, why: str, hint: str) -> UsageError:
    return UsageError(f"{sanitize(name)} is not a camera: {why}", hint)


def _refuse_without_methods(found: Any, name: str) -> None:
    for method in ("install", "cancel"):
        if not callable(getattr(found, method, None)):
            hint = "make it a subclass of evtools.Polaroid or evtools.Camera"
            raise _no_camera(name, f"it has no method {method}", hint)


def _refuse_misfits(camera: Any, name: str, timer: Any) -> None:
    # For methods that cannot be called as they will be, or were half made.
    _refuse_without_methods(camera, name)
    for method, (arguments, callers) in _CALLS.items():
        if not _is_theirs(camera, method) or any(_is_theirs(camera, each) for each in callers):
            continue
        found = getattr(camera, method)
        where = f"{sanitize(name)}.{method}"
        if inspect.iscoroutinefunction(found) or inspect.isasyncgenfunction(found):
            text = f"{where} is async, and evcam would not wait for it"
            raise UsageError(text, f"write def {method}, with asyncio.run(...) inside")
        misfit = _misfit(found, *arguments)
        if misfit:
            meant = _MEANT.get(method, method)
            advice = "write it as" if meant == method else "rename it to"
            text = f"{where} takes {misfit[0]}, and evcam calls {method}({', '.join(arguments)})"
            better = ", ".join(("self", *_CALLS[meant][0]))
            raise UsageError(text, f"{advice} {meant}({better})")
    if not hasattr(type(camera), "shutter_signal"):
        return  # it is made in its own way
    missing = [each for each in ("state", "freq", "timer") if not hasattr(camera, each)]
    if missing or (timer is not None and camera.timer is not timer):
        lost = missing[0] if missing else "timer"
        why = "to its base class, so that evcam could not take its snapshots"
        text = f"the constructor of camera {sanitize(name)} does not hand {lost} on {why}"
        raise UsageError(text, _CONSTRUCTOR)


def _is_theirs(camera: Any, method: str) -> bool:
    # Whether a user's class has a method that its bases have, or had, too.
    kinds = [kind for kind in type(camera).__mro__ if method in vars(kind)]
    if not kinds or (kinds[0] is kinds[-1] and method not in {"expose", "develop"}):
        return False
    return kinds[0].__module__.partition(".")[0] not in {"evtools", "celery"}


def _misfit(function: Callable[..., Any], *args: Any, **named: Any) -> tuple[str, str] | None:
    # The arguments of a function that cannot be called with these, and why.  None for one that
    # can, or is not written in Python.
    try:
        signature = inspect.signature(function)
    except (ValueError, TypeError):
        return None
    try:
        signature.bind(*args, **named)
    except TypeError as error:
        names = [str(each.replace(annotation=each.empty)) for each in signature.parameters.values()]
        return f"({sanitize(', '.join(names))})", str(error)
    return None


_NOT_IMPORTED: Final = re.compile(r"cannot import name '(\w+)'")
_TAG: Final = re.compile(r"(cpython|pypy)-?(\d)(\d+)")
#: Causes of an error that are looked at.
_CAUSES_MAX: Final = 20


def _explained(name: str, error: BaseException) -> UsageError | None:
    # An extension was built for another Python, or Python is unreadable: Python itself says in
    # both cases that a module is not there.
    head = f"camera {sanitize(name)} cannot be imported:"
    version = "{}.{}".format(*sys.version_info)
    ours = f"this is {platform.python_implementation()} {version}"
    if getattr(sys, "frozen", False):
        ours = f"this program contains Python {version}"
    cause: BaseException | None = error
    missing: list[str] = []
    while cause is not None and len(missing) < 2 * _CAUSES_MAX:
        part = _NOT_IMPORTED.match(str(cause))
        module = (isinstance(cause, ImportError) and cause.name) or ""
        missing += [module, f"{module}.{part[1]}" if part else ""]
        cause = cause.__cause__ or cause.__context__
    for module in missing:
        *packages, last = module.split(".")
        if not all(map(str.isidentifier, (*packages, last))):
            continue
        usable = {f"{last}{suffix}" for suffix in EXTENSION_SUFFIXES}
        for folder in sys.path:
            found: list[Path] = []
            with contextlib.suppress(OSError):  # not for this user to read
                found = sorted(Path(folder, *packages).glob(f"{last}.*.so"))
            tags = [(file, tag) for file in found if (tag := _TAG.search(file.name))]
            if tags and usable.isdisjoint(file.name for file in found):
                file, (kind, major, minor) = tags[0][0], tags[0][1].groups()
                theirs = f"{'PyPy' if kind == 'pypy' else 'Python'} {major}.{minor}"
                return UsageError(
                    f"{head} {sanitize(str(file))} was built for {theirs}, and {ours}",
                    "install it for this one: pip install --only-binary :all: --python-version"
                    f" {version} --target DIR {sanitize(module.partition('.')[0])}, and name DIR"
                    " with --pythonpath",
                )
    if missing[0].partition(".")[0] not in sys.stdlib_module_names:
        return None
    # After --uid, Python's library may lie where the new user cannot look.
    return UsageError(
        f"{head} user {os.geteuid()} does not find Python's own {missing[0]} in"
        f" {Path(os.__file__).parent}",
        "let all users read that folder, or run evcam with a Python that they can read",
    )
