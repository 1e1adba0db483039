"""Completion for fish."""

from collections.abc import Iterator, Sequence
from typing import Final

from evtools.cli.completions.grammar import Flag, Program, Value
from evtools.cli.topics import TOPICS

_HEAD: Final = """\
# fish completion for evtools, evtop, evdump and evcam; made by evtools.

function __evtools_is
    set -l words (commandline -opc)
    test (count $words) -ge 2; and contains -- $words[2] $argv
end

function __evtools_wants_tool
    set -l words (commandline -opc)
    test (count $words) -eq 1; or test "$words[2..-1]" = help
end

function __evtools_wants_topic
    set -l words (commandline -opc)
    test "$words[2..-1]" = help
end

for program in evtools evtop evdump evcam
    complete -c $program -e
    complete -c $program -f
end
"""
#: What is not a list of words; `-x` keeps files out.
_KINDS: Final = {
    "files": "-r -F",
    "folders": "-x -a '(__fish_complete_directories)'",
    "users": "-x -a '(__fish_complete_users)'",
    "groups": "-x -a '(__fish_complete_groups)'",
}


def script(programs: Sequence[Program]) -> str:
    """Return what fish has to read."""
    lines = [_HEAD]
    for each in programs:
        tool = f"{each.name} -d {_quoted(each.what)}"
        lines.append(f"complete -c evtools -n __evtools_wants_tool -a {tool}")
    lines.append("complete -c evtools -n __evtools_wants_tool -a help -d 'what a tool does'")
    for name, topic in TOPICS.items():
        told = f"{name} -d {_quoted(topic.what)}"
        lines.append(f"complete -c evtools -n __evtools_wants_topic -a {told}")
    for each in programs:
        below = f"evtools -n '__evtools_is {' '.join(each.words)}'"
        targets = [each.program, below] if each.alone else [below]
        lines.append("")
        lines += [
            f"complete -c {target} {rest}" for target in targets for rest in _completions(each)
        ]
    return "\n".join((*lines, ""))


def _completions(program: Program) -> Iterator[str]:
    for flag in program.flags:
        yield f"{_names(flag)}{_taken(flag.value)} -d {_quoted(flag.what)}"
    if program.rest and program.rest.words:
        yield f"-a {_quoted(' '.join(program.rest.words))}"


def _names(flag: Flag) -> str:
    return " ".join(
        f"-l {name.removeprefix('--')}" if name.startswith("--") else f"-s {name.removeprefix('-')}"
        for name in flag.names
    )


def _taken(value: Value | None) -> str:
    if value is None:
        return ""
    if value.kind != "words":
        return f" {_KINDS[value.kind]}"
    return f" -x -a {_quoted(' '.join(value.words))}" if value.words else " -x"


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
