"""Completion for zsh, as a file in fpath or read by .zshrc."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from evtools.cli.completions.grammar import Flag, Program, Value
from evtools.cli.topics import TOPICS

_HEAD: Final = """\
#compdef evtools evtop evdump evcam
# zsh completion for evtools, evtop, evdump and evcam; made by evtools.
"""

_BODY: Final = """\
_evtools() {
    local program=$service
    if [[ $program == evtools ]]; then
        if (( CURRENT == 2 )) || [[ $CURRENT == 3 && $words[2] == help ]]; then
            local missed=1
            _evtools_tools && missed=0
            if (( CURRENT == 3 )); then _evtools_topics && missed=0; fi
            return $missed
        fi
        program=ev${words[2]#ev}
        shift words
        (( CURRENT-- ))
    fi
    (( $+functions[_evtools_$program] )) && _evtools_$program
}

if [[ $funcstack[1] == _evtools ]]; then
    _evtools "$@"
else
    compdef _evtools evtools evtop evdump evcam
fi
"""
#: How zsh finds what is not a list of words.
_ACTIONS: Final = {
    "files": "_files",
    "folders": "_files -/",
    "users": "_users",
    "groups": "_groups",
}


def script(programs: Sequence[Program]) -> str:
    """Return what zsh has to read."""
    tools = {each.name: each.what for each in programs} | {"help": "what a tool does"}
    topics = {name: topic.what for name, topic in TOPICS.items()}
    lines = [_HEAD, *_described("tool", tools), *_described("topic", topics)]
    for each in programs:
        lines += _function(each)
    return "\n".join((*lines, _BODY))


def _described(kind: str, words: Mapping[str, str]) -> Iterator[str]:
    """Yield the function that completes words, with what they are."""
    yield f"_evtools_{kind}s() {{"
    yield f"    local -a {kind}s=("
    for word, what in words.items():
        yield f"        {_quoted(f'{word}:{what}')}"
    yield "    )"
    yield f"    _describe {kind} {kind}s"
    yield "}"
    yield ""


def _function(program: Program) -> Iterator[str]:
    yield f"_evtools_ev{program.name}() {{"
    yield "    _arguments -s -S \\"
    specs = [spec for flag in program.flags for spec in _specs(flag)]
    # One that completes nothing would show its message in place of an option.
    if program.rest and program.rest.words:
        specs.append(f"*:{_action(program.rest)}")
    yield " \\\n".join(f"        {_quoted(spec)}" for spec in specs)
    yield "}"
    yield ""


def _specs(flag: Flag) -> Iterator[str]:
    what = re.sub(r"([\[\]\\])", r"\\\1", flag.what)
    for name in flag.names:
        others = "*" if flag.repeatable else f"({' '.join(flag.names)})"
        if flag.value is None:
            yield f"{others}{name}[{what}]"
        else:
            attached = "=" if name.startswith("--") else "+"
            yield f"{others}{name}{attached}[{what}]:{_action(flag.value)}"


def _action(value: Value) -> str:
    """Return a message and what to complete, as _arguments takes them."""
    message = value.called.replace(":", r"\:")
    if value.kind != "words":
        return f"{message}:{_ACTIONS[value.kind]}"
    if not value.words:
        return f"{message}: "
    goes_on = all(word.endswith((":", "/")) for word in value.words)
    words = " ".join(value.words).replace(":", r"\:")
    add = "compadd -S ''" if goes_on else "compadd"
    return f"{message}:{add} - {words}"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", r"'\''") + "'"
