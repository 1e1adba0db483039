"""Extension modules that were built for another Python."""

import platform
import re
import sys
from collections.abc import Iterator, Sequence
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from typing import Final

from evtools.errors import UsageError
from evtools.text import sanitize

_NAME: Final = re.compile(r"cannot import name '(\w+)'")
_TAG: Final = re.compile(r"(cpython|pypy)-?(\d)(\d+)")
#: An error may have this many others behind it before we look no further.
_CAUSES_MAX: Final = 20


def explain(camera: str, error: BaseException, path: Sequence[str]) -> UsageError | None:
    """Return an error for the user if a foreign extension is behind `error`.

    Python itself says of such a module that it is not there.  `path` is where
    modules are looked for.
    """
    for name in _missing(error):
        for file in _extensions(name, path):
            return UsageError(
                f"camera {sanitize(camera)} cannot be imported: {sanitize(str(file))}"
                f" was built for {_python(file)}, and {_ours()}",
                "install it for this one: pip install --only-binary :all:"
                f" --python-version {_version()} --target DIR"
                f" {sanitize(name.partition('.')[0])}, and name DIR with --pythonpath",
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
            part = _NAME.match(str(cause))
            if part:
                yield f"{cause.name}.{part[1]}"
        cause = cause.__cause__ or cause.__context__


def _extensions(name: str, path: Sequence[str]) -> Iterator[Path]:
    """Yield the extension modules of that name that are of no use to us."""
    *packages, module = name.split(".")
    usable = {f"{module}{suffix}" for suffix in EXTENSION_SUFFIXES}
    if not all(map(str.isidentifier, (*packages, module))):
        return
    for folder in path:
        try:
            found = sorted(Path(folder, *packages).glob(f"{module}.*.so"))
        except OSError:  # it is not for us to read
            continue
        names = {file.name for file in found}
        if names and not names & usable:
            yield from (file for file in found if _TAG.search(file.name))


def _python(file: Path) -> str:
    tag = _TAG.search(file.name)
    assert tag is not None, "only such files are yielded"
    kind, major, minor = tag.groups()
    return f"{'PyPy' if kind == 'pypy' else 'Python'} {major}.{minor}"


def _ours() -> str:
    if getattr(sys, "frozen", False):
        return f"this program contains Python {_version()}"
    return f"this is {platform.python_implementation()} {_version()}"


def _version() -> str:
    return "{}.{}".format(*sys.version_info)
