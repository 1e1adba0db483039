"""Trees of tasks, made flat: who called whom, to a bounded depth."""

from collections.abc import Callable, Collection, Container, Iterable, Iterator
from typing import Final, NamedTuple

MAX_ROWS: Final = 5_000
MAX_DEPTH: Final = 40

#: What stands before a node: whether others follow it at its depth.
_BRANCHES: Final = {False: {True: "├─ ", False: "└─ "}, True: {True: "|- ", False: "`- "}}
_LINES: Final = {False: {True: "│  ", False: "   "}, True: {True: "|  ", False: "   "}}
_CLOSED: Final = "+ "


class Node(NamedTuple):
    """A row of a tree; `prefix` draws the branches that lead to it."""

    key: str
    prefix: str


def grow(
    roots: Iterable[str],
    children: Callable[[str], Collection[str]],
    *,
    closed: Collection[str] = (),
    ascii_only: bool = False,
    max_rows: int = MAX_ROWS,
) -> list[Node]:
    """Return the nodes of the trees under `roots`, each before its children.

    Every key comes once, whatever cycles there are.  What is `closed` hides
    its children, and so does what is too deep.
    """
    nodes: list[Node] = []
    seen: set[str] = set()
    waiting = [(key, "", "") for key in roots]
    waiting.reverse()
    while waiting and len(nodes) < max_rows:
        key, indent, branch = waiting.pop()
        if key in seen:
            continue
        seen.add(key)
        below = [child for child in children(key) if child not in seen]
        if not below:
            nodes.append(Node(key, indent + branch))
            continue
        hidden = key in closed or len(indent) >= 3 * MAX_DEPTH
        nodes.append(Node(key, indent + branch + (_CLOSED if hidden else "")))
        if not hidden:
            deeper = indent + _deeper(branch, ascii_only=ascii_only)
            waiting.extend(reversed(list(_branched(below, deeper, ascii_only))))
    return nodes


def _deeper(branch: str, *, ascii_only: bool) -> str:
    """Return what stands below a branch, before those of its children."""
    if not branch:
        return ""
    return _LINES[ascii_only][branch == _BRANCHES[ascii_only][True]]


def _branched(keys: list[str], indent: str, ascii_only: bool) -> Iterator[tuple[str, str, str]]:  # noqa: FBT001
    branches = _BRANCHES[ascii_only]
    for key in keys:
        yield key, indent, branches[key is not keys[-1]]


def tops(
    keys: Iterable[str], parent: Callable[[str], str | None], shown: Container[str]
) -> Iterator[str]:
    """Yield the topmost ancestor that is shown of each key, each of them once.

    Of a cycle, that is the one where the walk closes it.
    """
    top: dict[str, str] = {}
    for key in keys:
        path: list[str] = []
        at = key
        while at not in top:
            path.append(at)
            top[at] = at
            above = parent(at)
            if above is None or above not in shown:
                break
            at = above
        highest = top[at]
        if at in path and highest == at:
            yield at
        for each in path:
            top[each] = highest
