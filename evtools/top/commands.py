"""The commands: what keys stand for and what can be typed after `:`."""

import difflib
from collections.abc import Sequence
from itertools import chain
from typing import Final

from evtools.errors import UsageError
from evtools.top.session import Session
from evtools.top.verbs import acting, choosing, looking, moving, reading, replaying, taking
from evtools.top.verbs.verb import Verb, plain
from evtools.top.widgets.editor import Editor
from evtools.top.widgets.prompt import Prompt

#: Other names, of people who know other tools.
_ALIASES: Final = {"q": "quit", "q!": "quit", "h": "help", "w": "export jsonl"}


def run(session: Session, line: str) -> None:
    """Carry out a command and what stands behind it.

    Raise UsageError for an unknown one, and what the command raises.
    """
    line = line.strip()
    name, _, argument = _ALIASES.get(line, line).partition(" ")
    verb = COMMANDS.get(name)
    if verb is None:
        near = difflib.get_close_matches(name, COMMANDS, 1)
        raise UsageError(
            f"there is no command {name}",
            f"did you mean {near[0]}?" if near else "Tab after : shows them all",
        )
    verb.do(session, argument.strip())


def complete(session: Session, text: str) -> tuple[int, Sequence[str]]:
    """Complete the name of a command, or what may stand behind it."""
    name, blank, argument = text.partition(" ")
    if not blank:
        return 0, [one for one in sorted(COMMANDS) if one.startswith(name)]
    verb = COMMANDS.get(name)
    choices = verb.choices(session) if verb is not None else ()
    start = len(name) + 1
    return start, [one for one in choices if one.startswith(argument)]


def _command(session: Session) -> None:
    def accepted(text: str) -> bool:
        session.history.remember("command", text)
        session.close(prompt)
        if text.strip():
            session.run(text)
        return False

    editor = Editor(
        history=session.history.lines("command"), complete=lambda text: complete(session, text)
    )
    prompt = Prompt(":", editor, accepted)
    session.ask(prompt)


COMMANDS: Final[dict[str, Verb]] = {
    verb.name: verb
    for verb in chain(
        moving.VERBS,
        reading.VERBS,
        choosing.VERBS,
        looking.VERBS,
        taking.VERBS,
        acting.VERBS,
        replaying.VERBS,
        (plain("command", "command line", _command),),
    )
}
