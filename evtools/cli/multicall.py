"""One program, several names: `evtools dump`, or a link called evdump."""

import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import PurePath
from typing import Final

from evtools import __version__
from evtools.cli import frozen

#: Tool: module of its entry point, and what it does.
TOOLS: Final = {
    "top": ("evtools.cli.top", "the cluster live on a full screen"),
    "cam": ("evtools.cli.cam", "snapshots of the cluster's state, as a service"),
    "dump": ("evtools.cli.dump", "every event, for people or as JSON Lines"),
    "doctor": ("evtools.cli.doctor", "why nothing shows, and what to type"),
    "selftest": ("evtools.cli.selftest", "is all of this program here, and working"),
}

_USAGE = 2


def main(argv: Sequence[str] | None = None) -> int:
    """Run the tool that the program's name or first argument names."""
    frozen.prepare()
    program, *arguments = sys.argv if argv is None else argv
    name = PurePath(program).name.removeprefix("ev")
    if name in TOOLS:
        return _run(name, arguments)
    if not arguments or arguments[0] in {"-h", "--help"}:
        print(_help())  # noqa: T201  (a command's answer)
        return 0 if arguments else _USAGE
    if arguments[0] in {"-V", "--version"}:
        print(_version(arguments))  # noqa: T201  (a command's answer)
        return 0
    name = arguments[0].removeprefix("ev")
    if name in TOOLS:
        return _run(name, arguments[1:])
    print(_unknown(arguments[0]), file=sys.stderr)  # noqa: T201  (a command's answer)
    return _USAGE


def _run(name: str, arguments: Sequence[str]) -> int:
    module, _ = TOOLS[name]
    status: int = import_module(module).main(arguments)
    return status


def _help() -> str:
    lines = [
        "Usage: evtools TOOL [OPTION]...",
        "",
        "  Watch Celery clusters through their event stream.",
        "",
        "Tools:",
        *(f"  {name:<8} {what}" for name, (_, what) in TOOLS.items()),
        "",
        "evtools TOOL --help tells more; evtools --version what is inside.",
    ]
    return "\n".join(lines)


def _version(arguments: Sequence[str]) -> str:
    if arguments[0] == "-V":
        return f"evtools {__version__}"
    from evtools.cli import version  # noqa: PLC0415  (start-up time)

    return version.report("evtools", as_json="--json" in arguments)


def _unknown(word: str) -> str:
    import difflib  # noqa: PLC0415  (start-up time)

    from evtools.text import sanitize  # noqa: PLC0415  (start-up time)

    near = difflib.get_close_matches(word.removeprefix("ev"), TOOLS, n=1)
    question = f" Did you mean {near[0]}?" if near else ""
    return (
        f"evtools: there is no tool {sanitize(word)}.{question}\n"
        f"  tools: {', '.join(TOOLS)}"
    )
