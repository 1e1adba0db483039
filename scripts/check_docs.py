"""Checks the documents against the code; `--fix` writes the parts that are generated.

What shells complete is made of the commands, and evtop(1)'s keys of the table of keys.
The options in the manual pages are the options of the commands, neither more nor fewer,
and every command line shown to a reader is one that the command would take.
"""

from __future__ import annotations

import importlib
import itertools
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click

from evtools.cli.tools import TOOLS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

ROOT = Path(__file__).resolve().parents[1]

# The one that hands over to the others: `evtools dump` is evdump.
DISPATCHER = "evtools"
# Every installed script with its click command, which its entry point imports late.
COMMANDS = {tool.program: tool.command for tool in TOOLS.values() if " " not in tool.program}
# What only evtools calls: `evtools doctor` is evdoctor. Its manual page has their
# options, in sections such as DOCTOR OPTIONS.
SUBCOMMANDS = {f"ev{name}": tool.command for name, tool in TOOLS.items() if " " in tool.program}

# What shells read, below it as evtools.cli.completion has it.
COMPLETIONS = Path("packaging") / "completions"

# Where the manual page of evtop has its table of keys.
KEYS_BEGIN = '.\\" keys: scripts/check_docs.py --fix writes them\n'
KEYS_END = '.\\" end of the keys\n'

# An option where a sentence or a list names it, not a dash inside of a word or path.
_OPTION = re.compile(r"(?<![\w/.<=-])--?[a-zA-Z][\w-]*")

# What means something to roff; the backslash comes first.
_ROFF = {"\\": r"\e", "-": r"\-", "'": r"\(aq", "^": r"\(ha", "`": r"\(ga", "~": r"\(ti"}
_CHARACTERS = {escape: character for character, escape in _ROFF.items()} | {r"\&": ""}
_ESCAPE = re.compile("|".join(map(re.escape, _CHARACTERS)))
_FONT = re.compile(r"\\f[BIR]")
# What of a manual page is run: `.\" sh`, or `.\" python FILE`, stands before the example.
_EXAMPLE = re.compile(
    r"^\.S[HS] (?P<heading>[^\n]*)$"
    r'|^\.\\" (?P<language>[a-z]+)(?: (?P<file>\S+))?\n\.EX\n(?P<text>.*?)^\.EE$',
    re.DOTALL | re.MULTILINE,
)
# An option that stands in bold in a sentence.
_BOLD = re.compile(r"\\fB((?:\\-){1,2}[a-zA-Z][^ =]*?)(?:[ =].*?)?\\fR")

# A terminal's way to print bold and underlined: the same place twice.
_OVERSTRIKE = re.compile(".\x08")

# Report, receive and show; no one, forever; `--uid nobody` is a user.
_ODD_WORDS = re.compile(
    r"\b(?:told|tells|heard|hears|for ever|whoever|(?<!--uid )(?<!-uid )nobody)\b", re.IGNORECASE
)

# What ends a command in a shell line, and what may stand before one.
_PUNCTUATION = set("();<>|&")
_BEFORE_A_COMMAND = {"$", "%", "sudo", "exec", "time", "--"}
_TAKES_A_COMMAND = {"docker", "kubectl", "ssh", "sudo", "timeout", "watch"}

_CODE = re.compile(r"^```.*?\n(.*?)^```|`([^`\n]+)`", re.DOTALL | re.MULTILINE)


# --- Keys


def key_table() -> str:
    """Return the keys of evtop as a part of a manual page."""
    keymap = importlib.import_module("evtools.top.keys")
    lines = []
    for context, title in keymap.CONTEXTS.items():
        lines.append(f".SS {title.capitalize()}")
        for binding in keymap.BINDINGS:
            if binding.context == context and binding.keys:
                lines += (
                    ".TP 14",
                    f"\\fB{roff(keymap.keys_text(binding))}\\fR",
                    roff(f"{binding.help} ({binding.command})"),
                )
    return "\n".join((*lines, ""))


def check_words(root: Path) -> Iterator[str]:
    """Yield the words of documents for which the field has others."""
    for path in (
        root / "README.md",
        root / "CHANGELOG.md",
        *sorted((root / "man").glob("*.[1-9]")),
    ):
        for number, line in enumerate(path.read_text().splitlines() if path.exists() else (), 1):
            for word in _ODD_WORDS.findall(line):
                yield f"{path.relative_to(root)}:{number}: there is a better word than {word!r}"


class Example(NamedTuple):
    """An example in a manual page, and the file that it is said to be in, if any."""

    heading: str
    language: str
    file: str
    text: str


def examples(page: str) -> Iterator[Example]:
    """Yield the examples of a manual page, given as source, that say what they are written in."""
    heading = ""
    for found in _EXAMPLE.finditer(page):
        if found["heading"]:
            heading = unroff(found["heading"].strip('"'))
        else:
            yield Example(heading, found["language"], found["file"] or "", unroff(found["text"]))


def unroff(source: str) -> str:
    """Return the text that is written so in a manual page."""
    return _ESCAPE.sub(lambda found: _CHARACTERS[found[0]], _FONT.sub("", source))


def roff(text: str) -> str:
    """Return text as it is written in a manual page, wherever it stands."""
    for character, escape in _ROFF.items():
        text = text.replace(character, escape)
    return rf"\&{text}" if text.startswith(".") else text


def check_keys(root: Path, *, fix: bool) -> Iterator[str]:
    """Yield a problem when man/evtop.1 does not have the keys of today."""
    path = root / "man" / "evtop.1"
    if not path.exists():
        return
    before, begin, rest = path.read_text().partition(KEYS_BEGIN)
    _, end, after = rest.partition(KEYS_END)
    if not begin or not end:
        yield "man/evtop.1: has no place for the keys"
        return
    wanted = f"{before}{begin}{key_table()}{end}{after}"
    if wanted == path.read_text():
        return
    if fix:
        path.write_text(wanted)
    else:
        yield "man/evtop.1: the keys are old; scripts/check_docs.py --fix"


# --- Completions


def check_completions(root: Path, *, fix: bool) -> Iterator[str]:
    """Yield the files for shells that are not those of today's commands."""
    completions = importlib.import_module("evtools.cli.completion")
    for shell, name in completions.FILES.items():
        path = root / COMPLETIONS / name
        wanted = completions.script(shell)
        if path.exists() and path.read_text() == wanted:
            continue
        if fix:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(wanted)
        else:
            yield f"{COMPLETIONS / name}: is old; scripts/check_docs.py --fix"


# --- Options


def commands(root: Path) -> dict[str, click.Command]:
    """Return the commands that pyproject.toml installs, by their names."""
    settings = tomllib.loads((root / "pyproject.toml").read_text())
    places = {}
    for name in settings["project"]["scripts"]:
        places |= SUBCOMMANDS if name == DISPATCHER else {name: COMMANDS[name]}
    return {name: load(place) for name, place in places.items()}


def load(place: str) -> click.Command:
    """Return the command that `module:attribute` names."""
    module, _, attribute = place.partition(":")
    command: click.Command = getattr(importlib.import_module(module), attribute)
    return command


def options_of(command: click.Command) -> set[str]:
    """Return all spellings of the options that a command shows in its help."""
    context = click.Context(command, **command.context_settings)
    spellings: set[str] = set()
    for parameter in command.get_params(context):
        if isinstance(parameter, click.Option) and not parameter.hidden:
            spellings.update(parameter.opts, parameter.secondary_opts)
    return spellings


def check_page(name: str, page: str, command: click.Command) -> Iterator[str]:
    """Yield where a rendered manual page and the options of a command differ."""
    section = "OPTIONS"
    if name in SUBCOMMANDS:
        section = f"{name.removeprefix('ev').upper()} OPTIONS"
    real, described = options_of(command), options_described(page, section)
    for option in sorted(real - described):
        yield f"{page_of(name)}: does not describe {option}"
    for option in sorted(described - real):
        yield f"{page_of(name)}: describes {option}, which {name} does not have"


def page_of(name: str) -> str:
    """Return where the manual page is that describes a command."""
    return f"man/{DISPATCHER if name in SUBCOMMANDS else name}.1"


def options_described(page: str, section: str = "OPTIONS") -> set[str]:
    """Return the options that have an entry in a section of a rendered page."""
    found: set[str] = set()
    inside = False
    for line in page.splitlines():
        if line and not line[0].isspace():
            inside = line.strip().endswith(section)
        elif inside and line.lstrip().startswith("-"):
            tag = re.split(r"\s{2,}", line.strip())[0]
            found.update(_OPTION.findall(tag))
    return found


def render(path: Path) -> str:
    """Return a manual page as plain text, with its lines unfolded."""
    done = subprocess.run(
        ["mandoc", "-T", "ascii", "-O", "width=200", str(path)],
        capture_output=True,
        text=True,
        check=True,
    )
    return _OVERSTRIKE.sub("", done.stdout)


def check_text(where: str, lines: Iterable[str], known: dict[str, click.Command]) -> Iterator[str]:
    """Yield the command lines in a text that a command would refuse."""
    for line in lines:
        for name, arguments in command_lines(line, set(known)):
            error = refusal(known[name], arguments)
            if error:
                shown = shlex.join([name, *arguments])
                yield f"{where}: `{shown}`: {error}"


def command_lines(line: str, names: set[str]) -> Iterator[tuple[str, list[str]]]:
    """Yield the calls of our commands in a shell line, with their arguments."""
    try:
        lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        words = list(lexer)
    except ValueError:  # an apostrophe of prose
        return
    for place, word in enumerate(words):
        if not _is_command_position(words[:place]):
            continue
        rest = [word, *itertools.takewhile(_is_argument, words[place + 1 :])]
        if rest[0] == DISPATCHER and len(rest) > 1:
            rest = ["ev" + rest[1].removeprefix("ev"), *rest[2:]]
        if rest[0] in names:
            yield rest[0], rest[1:]


def _is_argument(word: str) -> bool:
    return not _PUNCTUATION.issuperset(word)


def _is_command_position(before: list[str]) -> bool:
    """Say whether a word after these is a command: a prompt, a pipe, `sudo -u me`."""
    last = before[-1] if before else "$"
    return (
        last in _BEFORE_A_COMMAND
        or _PUNCTUATION.issuperset(last)
        or before[0] in _TAKES_A_COMMAND
        or "=" in last
    )


def refusal(command: click.Command, arguments: list[str]) -> str:
    """Return why a command would not take the arguments; empty when it would."""
    context = click.Context(command, **command.context_settings)
    arguments = [word for word in arguments if word not in {"...", "[OPTIONS]"}]
    try:
        command.make_parser(context).parse_args(list(arguments))
    except click.UsageError as error:
        return error.format_message()
    return ""


def check_readme(root: Path, known: dict[str, click.Command]) -> Iterator[str]:
    """Yield what the README shows and the commands do not have."""
    path = root / "README.md"
    if not path.exists():
        yield "README.md: is missing"
        return
    real = set().union(*map(options_of, known.values()))
    for block, inline in _CODE.findall(path.read_text()):
        code = (block or inline).replace("\\\n", " ")
        yield from check_text("README.md", code.splitlines(), known)
        if inline.startswith("-"):
            for option in _OPTION.findall(inline):
                if option not in real:
                    yield f"README.md: {option} is an option of none of the commands"


def check_man(root: Path, known: dict[str, click.Command]) -> Iterator[str]:
    """Yield what is wrong with the manual pages of the commands."""
    for name, command in known.items():
        where = page_of(name)
        path = root / where
        if not path.exists():
            yield f"{where}: is missing"
            continue
        page = render(path)
        yield from check_page(name, page, command)
        lines = (line.strip() for line in page.splitlines())
        shown = (line for line in lines if re.match(r"[$#] ", line))
        yield from check_text(where, shown, known)
    real = set().union(*map(options_of, known.values()))
    for path in sorted((root / "man").glob("*.[1-9]")):
        where, source = f"man/{path.name}", path.read_text()
        for example in examples(source):
            if example.language == "sh":
                yield from check_text(where, example.text.splitlines(), known)
        if where not in map(page_of, known):
            for option in map(unroff, _BOLD.findall(source)):
                if option not in real:
                    yield f"{where}: {option} is an option of none of the commands"


def problems(root: Path, *, fix: bool) -> Iterator[str]:
    """Yield what is wrong in the documents of the repository at root."""
    yield from check_keys(root, fix=fix)
    yield from check_words(root)
    yield from check_completions(root, fix=fix)
    known = commands(root)
    yield from check_man(root, known)
    yield from check_readme(root, known)


def main(arguments: list[str]) -> int:
    """Print the problems and return the exit status."""
    if arguments not in ([], ["--fix"]):
        print("usage: check_docs.py [--fix]", file=sys.stderr)
        return 2
    found = list(problems(ROOT, fix=bool(arguments)))
    for line in found:
        print(line)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
