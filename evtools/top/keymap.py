"""The keys in force: the table, and what the settings file makes of it."""

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final, TypeAlias

from evtools.errors import UsageError
from evtools.text import width
from evtools.top.bindings import BINDINGS, CONTEXTS, FOOTER, Binding

#: A command, and the key or keys that mean it.
Overrides: TypeAlias = Mapping[str, str | Sequence[str]]


#: Contexts that are never active together with another one.
_ALONE: Final = ("menus", "prompts")

#: The first of two contexts goes before the other, so they may share keys.
_SHADOWS: Final = frozenset(
    {("text", "lists"), ("events", "lists"), ("workers", "events"), ("workers", "paused")}
)

#: They always get you out, so they cannot mean anything else.
_FIXED: Final = ("esc", "ctrl-c")

# --- keys -----------------------------------------------------------------------

_NAMED: Final = {
    "enter": "Enter", "esc": "Esc", "tab": "Tab", "space": "Space",
    "backspace": "Backspace", "delete": "Del", "insert": "Ins", "home": "Home",
    "end": "End", "pgup": "PgUp", "pgdn": "PgDn", "up": "Up", "down": "Down",
    "left": "Left", "right": "Right",
} | {f"f{number}": f"F{number}" for number in range(1, 13)}  # fmt: skip

#: What terminals cannot tell from another key, or keep for themselves.
_TAKEN: Final = {
    "ctrl-h": "backspace", "ctrl-i": "tab", "ctrl-j": "enter", "ctrl-m": "enter",
    "ctrl-[": "esc", "ctrl-s": "a stop of the terminal",
    "ctrl-q": "a start of the terminal", "ctrl-z": "suspend",
}  # fmt: skip

_KEY = re.compile(rf"(?:(?:shift|ctrl|alt)-)*(?:{'|'.join(_NAMED)})|(?:ctrl-[a-z\\\]^_])|alt-[!-~]")
_WORDS: Final = {"page up": "pgup", "page down": "pgdn", "meta ": "alt ", " ": "-"}


def canonical(key: str) -> str:
    """Return the name in the table of a key as urwid calls it."""
    if key == " ":
        return "space"
    for word, name in _WORDS.items():
        if len(key) > 1:
            key = key.replace(word, name)
    return key


def label(key: str) -> str:
    """Return a key as people read it: `Enter`, `ctrl-l`, `F1`, `/`."""
    return _NAMED.get(key, key)


def _is_key(key: str) -> bool:
    single = len(key) == 1 and key.isprintable() and key != " "
    return single or _KEY.fullmatch(key) is not None


# --- the map --------------------------------------------------------------------


class Keymap:
    """The table as it is in force.

    `overrides` is the `[keys]` table of the settings file: a command, and the
    keys that mean it instead of the built-in ones; none take them away.
    Raise UsageError for an unknown command or key and for a key with two
    meanings.
    """

    def __init__(self, overrides: Overrides | None = None) -> None:
        changed = _checked(overrides or {})
        self.bindings = tuple(
            replace(binding, keys=changed.get(binding.command, binding.keys))
            for binding in BINDINGS
        )
        self._commands = {
            (binding.context, key): binding.command
            for binding in self.bindings
            for key in binding.keys
        }
        for first, second, key in conflicts(self.bindings):
            raise UsageError(
                f'[keys] the key "{key}" means both "{first}" and "{second}"',
                "give one of them another key",
            )

    def find(self, key: str, contexts: Iterable[str]) -> str | None:
        """Return the command of a key; the first context that has one says it."""
        for context in contexts:
            command = self._commands.get((context, key))
            if command is not None:
                return command
        return None

    def key_of(self, command: str) -> str:
        """Return the first key of a command, as people read it, or ""."""
        for binding in self.bindings:
            if binding.command == command and binding.keys:
                return label(binding.keys[0])
        return ""

    def help(self, contexts: Iterable[str], wanted: str = "") -> Iterator[Binding]:
        """Yield what there is to know in some contexts, in the order of the help.

        `wanted` leaves only what has this text in its key, command or help.
        """
        active, wanted = set(contexts), wanted.casefold()
        for context in CONTEXTS:
            for binding in self.bindings:
                if binding.context != context or context not in active:
                    continue
                text = f"{keys_text(binding)}\n{binding.command}\n{binding.help}"
                if binding.keys and wanted in text.casefold():
                    yield binding

    def footer(
        self, contexts: Sequence[str], cols: int, words: Mapping[str, str] | None = None
    ) -> list[tuple[str, str]]:
        """Return (key, word) of the bottom line, as many as fit into `cols`.

        `words` has other words for some commands; "" leaves one out.
        """
        words, items = words or {}, []
        for command, word, rank in FOOTER:
            word = words.get(command, word)  # noqa: PLW2901
            key = self.key_of(command)
            if word and key and self._finds(command, contexts):
                items.append((rank, (key, word)))
        return [item for _, item in _dropped(items, cols)]

    def _finds(self, command: str, contexts: Sequence[str]) -> bool:
        """Return whether the first key of a command means it in these contexts."""
        for binding in self.bindings:
            if binding.command == command and binding.keys:
                return self.find(binding.keys[0], contexts) == command
        return False


def keys_text(binding: Binding) -> str:
    """Return the keys of a binding as people read them: `PgDn ctrl-f`."""
    return " ".join(map(label, binding.keys))


def conflicts(bindings: Iterable[Binding]) -> Iterator[tuple[str, str, str]]:
    """Yield the commands of which a key means both, and the key."""
    seen: dict[str, list[Binding]] = {}
    for binding in bindings:
        for key in binding.keys:
            for other in seen.get(key, ()):
                if _meet(other.context, binding.context):
                    yield other.command, binding.command, key
            seen.setdefault(key, []).append(binding)


def _meet(one: str, other: str) -> bool:
    """Return whether both contexts may be asked for the same key press."""
    if one == other:
        return True
    if one in _ALONE or other in _ALONE:
        return False
    return (one, other) not in _SHADOWS and (other, one) not in _SHADOWS


def _dropped(
    items: list[tuple[int, tuple[str, str]]], cols: int
) -> list[tuple[int, tuple[str, str]]]:
    """Leave out the least important items until the rest fits."""
    while sum(width(key) + width(word) + 3 for _, (key, word) in items) > cols:
        items.remove(max(reversed(items), key=lambda item: item[0]))
    return items


def _checked(overrides: Overrides) -> dict[str, tuple[str, ...]]:
    known = [binding.command for binding in BINDINGS]
    checked = {}
    for command, value in overrides.items():
        if command not in known:
            near = difflib.get_close_matches(command, known, 1)
            raise UsageError(
                f'[keys] there is no command "{command}"',
                f'did you mean "{near[0]}"?' if near else "see KEYS in evtop(1)",
            )
        keys = [value] if isinstance(value, str) else list(value)
        checked[command] = tuple(_checked_key(command, key) for key in keys)
        checked[command] += tuple(
            key for key in _FIXED if key in _keys_of(command) and key not in keys
        )
    return checked


def _keys_of(command: str) -> tuple[str, ...]:
    return next(one.keys for one in BINDINGS if one.command == command)


def _checked_key(command: str, key: object) -> str:
    if not isinstance(key, str) or not _is_key(key):
        raise UsageError(
            f'[keys] {command}: "{key}" is no key',
            "write a character, or as in ctrl-x, alt-x, shift-tab, enter, pgup, f1",
        )
    own = _keys_of(command)
    if key in _FIXED and key not in own:
        raise UsageError(
            f'[keys] {command}: "{key}" always leads out and means nothing else',
            "give it another key",
        )
    if key in _TAKEN and key not in own:
        raise UsageError(
            f'[keys] {command}: for a terminal "{key}" is {_TAKEN[key]}', "give it another key"
        )
    return key
