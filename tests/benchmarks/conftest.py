"""Each benchmark may take minutes."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="session")
def table():
    """Collect the rows of this run and print them at its end."""
    yield from _printed("what", "Celery", "evtools", "ratio", "budget", "")


@pytest.fixture(scope="session")
def stores():
    """Collect what stores cost and print it at the end."""
    yield from _printed(
        "into", "events/s", "evcam us/event", "store us/event", "bytes/row", "all there after",
        "peak RSS", "budget", "",
    )  # fmt: skip


def _printed(*head: str):
    rows: list[tuple[str, ...]] = []
    yield rows
    if not rows:
        return
    widths = [max(len(row[i]) for row in (head, *rows)) for i in range(len(head))]
    print()
    for row in (head, *rows):
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        print("  ".join(cells).rstrip())
