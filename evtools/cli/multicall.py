"""One program, several names: `evtools dump`, or a link called evdump."""

import sys
from collections.abc import Callable, Sequence
from pathlib import PurePath
from typing import Final

from evtools import __version__
from evtools.cli import frozen
from evtools.cli.entry import TOOLS, say, start, tell_versions
from evtools.cli.topics import TOPICS

_USAGE: Final = 2
_HELP: Final = ("-h", "--help", "help")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the tool that the program's name or first argument names."""
    frozen.prepare()
    program, *arguments = sys.argv if argv is None else argv
    name = PurePath(program).name.removeprefix("ev")
    if name in TOOLS:
        return start(name, arguments)
    word, *rest = arguments or [""]
    if word == "help" and rest:
        word, rest = rest[0], ["--help"]
        topic = TOPICS.get(word)
        if topic is not None:
            return _plainly(lambda: say(topic.page()))
    name = word.removeprefix("ev")
    if name in TOOLS:
        return start(name, rest)
    return _answer(word, arguments)


def _answer(word: str, arguments: Sequence[str]) -> int:
    """Answer what is no tool's business."""
    if word == "-V":
        return _plainly(lambda: say(f"evtools {__version__}"))
    if word == "--version":
        return _plainly(lambda: tell_versions("evtools", arguments))
    if word in _HELP:
        return _plainly(lambda: say(_help()))
    if not word:
        return _plainly(lambda: say(_help(), _USAGE))
    print(_unknown(word), file=sys.stderr)  # noqa: T201  (a command's answer)
    return _USAGE


def _plainly(body: Callable[[], int]) -> int:
    from evtools.cli.failure import run_plainly  # noqa: PLC0415  (start-up time)

    return run_plainly("evtools", body)


def _help() -> str:
    width = max(map(len, (*TOOLS, *TOPICS)))
    lines = [
        "Usage: evtools TOOL [OPTION]...",
        "",
        "  Watch Celery clusters through their event stream.",
        "",
        "Tools:",
        *(f"  {name:<{width}}  {tool.what}" for name, tool in TOOLS.items()),
        "",
        "Topics:",
        *(f"  {name:<{width}}  {topic.what}" for name, topic in TOPICS.items()),
        "",
        "evtools help TOOL or TOPIC tells more, as does evtools(1); evtools --version",
        "what is inside. evtop, evdump and evcam are programs of their own, too.",
    ]
    return "\n".join(lines)


def _unknown(word: str) -> str:
    import difflib  # noqa: PLC0415  (start-up time)

    from evtools.text import sanitize  # noqa: PLC0415  (start-up time)

    known = (*TOOLS, *TOPICS)
    near = difflib.get_close_matches(word.removeprefix("ev"), known, n=1)
    meant = f"help {near[0]}" if near and near[0] in TOPICS else "".join(near)
    question = f" Did you mean {meant}?" if near else ""
    return f"evtools: there is no tool {sanitize(word)}.{question}\n  tools: {', '.join(TOOLS)}"
