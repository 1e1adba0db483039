"""The check on event queues, lists and bindings whose readers are gone."""

from collections.abc import Iterator, Sequence
from typing import Final

from evtools.doctor.case import Case
from evtools.doctor.finding import Finding
from evtools.doctor.inspect.base import Leftover, LeftoverKind, Search
from evtools.text import human_size

_SHOWN: Final = 5
_PLURALS: Final[dict[LeftoverKind, str]] = {
    "queue": "queues",
    "list": "lists",
    "binding": "bindings",
}


def check_orphans(case: Case) -> Iterator[Finding]:
    """List what is left behind; remove it if that was asked for and confirmed."""
    search = case.examination.leftovers(case.options.queues)
    free = [leftover for leftover in search.found if leftover.free]
    yield from _unseen(search)
    if case.options.queues:
        yield from _taken(search)
    if not free:
        if not search.gap:
            yield Finding("orphans", "ok", "nothing is left behind")
        return
    if not case.options.fix:
        yield Finding(
            "orphans",
            "warning",
            f"nobody reads from {_list(case, free)}",
            "Monitors that are gone have left them; the same command with --fix removes them.",
        )
    elif case.options.confirm(f"Remove {_list(case, free, every=True)}?"):
        yield from _remove(case, free)
    else:
        yield Finding("orphans", "warning", f"not removed: {_list(case, free)}")


def _unseen(search: Search) -> Iterator[Finding]:
    if not search.gap:
        return
    advice = ""
    if search.command:
        advice = (
            f"On the broker's host, this lists them:\n  {search.command}\n"
            "Then the same command as now with --fix and their names removes them."
        )
    text = f"not all that is left behind can be seen: {search.gap}"
    yield Finding("orphans", "note", text, advice)


def _taken(search: Search) -> Iterator[Finding]:
    """Yield why what was named will not be removed."""
    for leftover in search.found:
        if not leftover.free:
            text = f"{leftover.name} stays: {leftover.why}"
            yield Finding("orphans", "note", text)


def _remove(case: Case, free: Sequence[Leftover]) -> Iterator[Finding]:
    gone = []
    for leftover in free:
        why = case.examination.remove(leftover)
        if why:
            yield Finding("orphans", "warning", f"{leftover.name} stays: {why}")
        else:
            gone.append(leftover)
    if gone:
        yield Finding("orphans", "note", f"removed {_list(case, gone, every=True)}")


def _list(case: Case, these: Sequence[Leftover], *, every: bool = False) -> str:
    """Return how many of each kind there are, how large, and what they are called.

    `every` name is there before one is asked, and after something was removed.
    """
    counts = []
    for kind, plural in _PLURALS.items():
        number = sum(leftover.kind == kind for leftover in these)
        if number:
            counts.append(f"{number} {kind if number == 1 else plural}")
    messages = sum(leftover.messages or 0 for leftover in these)
    size_bytes = sum(leftover.size_bytes or 0 for leftover in these)
    facts = [f"{messages} messages"] if messages else []
    facts += [human_size(size_bytes)] if size_bytes else []
    held = f" ({', '.join(facts)})" if facts else ""
    names = list(dict.fromkeys(leftover.name for leftover in these))
    shown = names if every or case.options.verbose else names[:_SHOWN]
    more = f" and {len(names) - len(shown)} more" if len(names) > len(shown) else ""
    return f"{' and '.join(counts)}{held}: {', '.join(shown)}{more}"
