"""Pages of help on what no single tool is about."""

from collections.abc import Callable, Iterator, Mapping
from typing import Final, NamedTuple

_KEYS: Final = """\
The keys of evtop. In evtop, ? lists those of the view; [keys] in the settings
file gives a command, in parentheses here, other keys."""


class Topic(NamedTuple):
    """A topic: what it is about, and its page."""

    what: str
    page: Callable[[], str]


def _filter() -> str:
    from evtools.filters.help import page  # noqa: PLC0415  (start-up time)

    return page()


def _keys() -> str:
    return "\n".join((_KEYS, *_bindings()))


def _bindings() -> Iterator[str]:
    from evtools.top.bindings import CONTEXTS  # noqa: PLC0415  (start-up time)
    from evtools.top.keymap import Keymap, keys_text  # noqa: PLC0415  (ditto)

    keymap = Keymap()
    for context, title in CONTEXTS.items():
        rows = [(keys_text(one), one) for one in keymap.help([context])]
        width = max(len(keys) for keys, _ in rows)
        yield f"\n{title}"
        for keys, binding in rows:
            yield f"  {keys:<{width}}  {binding.help} ({binding.command})"


TOPICS: Final[Mapping[str, Topic]] = {
    "filter": Topic("the filter language, on one page", _filter),
    "keys": Topic("the keys of evtop", _keys),
}
