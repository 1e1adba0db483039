"""--version: the versions of all components."""

import json
import os
import sys
from functools import cache
from typing import Any, Final

from evtools import __version__
from evtools.cli import frozen

#: The components whose versions matter for support.
_PARTS: Final = (
    "kombu", "amqp", "redis", "hiredis", "click", "rich", "urwid", "msgspec",
    "celery", "msgpack", "PyYAML", "zstandard",
)  # fmt: skip
#: Distribution: the URL schemes it serves.
TRANSPORTS: Final = {
    "amqp": "amqp amqps pyamqp librabbitmq",
    "redis": "redis rediss redis+socket sentinel valkey valkeys valkey+socket",
    "kombu": "memory",
}
#: What Python sets LC_CTYPE to where the locale is that of C, or not installed.
_MADE_UP: Final = ("C.UTF-8", "C.utf8", "UTF-8")
#: Terminals that set COLORTERM have at least this many colours.
_COLORTERM_COLOURS: Final = 256


def report(tool: str, as_json: bool) -> str:  # noqa: FBT001  (read at its two calls)
    """Return the versions of all components, for people or for programs."""
    build = frozen.build()
    build.pop("library", None)  # hundreds of names, for the selftest
    python = ".".join(map(str, sys.version_info[:3]))
    implementation = {"cpython": "CPython", "pypy": "PyPy"}.get(sys.implementation.name, "")
    python += f" ({implementation}{', embedded' if build else ''})"
    facts: dict[str, Any] = {
        "tool": tool, "version": __version__, "build": build, "python": python, "libc": libc(),
        "parts": parts(), "transports": transports(), "unicode": speaks_utf8(),
        "colours": colours(),
    }  # fmt: skip
    if as_json:
        return json.dumps(facts)
    rows = {"build": "{form} of {commit}, {date}".format(**build)} if build else {}
    rows |= {"python": facts["python"], "libc": facts["libc"], **facts["parts"]}
    rows["transports"] = " ".join(facts["transports"])
    unicode = "yes" if facts["unicode"] else "no"
    rows["terminal"] = f"unicode: {unicode} colours: {facts['colours']}"
    return "\n".join((f"{tool} {__version__}", *(f"{name:<11} {rows[name]}" for name in rows)))


def parts() -> dict[str, str]:
    """Return the versions of the components that are installed."""
    found = _distributions()
    return {name: found[name.lower()] for name in _PARTS if name.lower() in found}


def transports() -> list[str]:
    """Return the URL schemes that can be used here."""
    found = _distributions()
    return " ".join(TRANSPORTS[name] for name in TRANSPORTS if name in found).split()


def libc() -> str:
    """Return name and version of the C library."""
    try:
        return os.confstr("CS_GNU_LIBC_VERSION") or "unknown"
    except (ValueError, OSError):  # not glibc
        return "unknown"


def colours() -> int:
    """Return the number of colours of the terminal that TERM names; 0: unknown."""
    import curses

    try:
        curses.setupterm(os.environ.get("TERM", ""), 1)
        found = max(0, curses.tigetnum("colors"))
    except curses.error:  # an unknown terminal
        found = 0
    return max(found, _COLORTERM_COLOURS) if os.environ.get("COLORTERM") else found


def speaks_utf8() -> bool:
    """Return whether the terminal takes UTF-8, as far as its locale says.

    Only the name counts, for the locale of a terminal need not be installed here; where
    none is set, as in containers, terminals take UTF-8 today.
    """
    names = ["LC_ALL", "LC_CTYPE", "LANG"]
    made_up = sys.flags.utf8_mode and "PYTHONUTF8" not in os.environ
    if made_up and os.environ.get("LC_CTYPE") in _MADE_UP:
        names.remove("LC_CTYPE")
    named = next((os.environ[name] for name in names if os.environ.get(name)), "UTF-8")
    return "utf8" in named.lower().replace("-", "")


@cache
def _distributions() -> dict[str, str]:
    # The version of each installed distribution, by its name in lower case, from the names of
    # their folders: importing importlib.metadata would take longer than everything else
    # together, since it parses mail.
    found: dict[str, str] = {}
    for folder in sys.path:
        try:
            names = os.listdir(folder or ".")  # noqa: PTH208  (start-up time)
        except OSError:
            continue
        for name in names:
            stem, dot, kind = name.rpartition(".")
            if dot and kind in ("dist-info", "egg-info"):
                distribution, _, rest = stem.partition("-")
                found.setdefault(distribution.lower(), rest.partition("-")[0])
    return found
