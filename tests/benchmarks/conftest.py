"""Each benchmark may take minutes."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="session")
def table():
    """Collect the rows of this run and print them at its end."""
    rows: list[tuple[str, ...]] = []
    yield rows
    if not rows:
        return
    head = ("what", "Celery", "evtools", "ratio", "budget", "")
    widths = [max(len(row[i]) for row in (head, *rows)) for i in range(len(head))]
    print()
    for row in (head, *rows):
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        print("  ".join(cells).rstrip())
