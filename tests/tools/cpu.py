"""The CPU time of a process, whose name may hold anything."""

from __future__ import annotations

import os
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid: int) -> float:
    """Return the CPU a running process has taken, in user and system mode."""
    # The name stands in brackets, and that of Celery has spaces in it.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def cpu_seconds_of_all(pid: int | None) -> float:
    """Return the CPU that a process and those below it have taken, also those that have ended."""
    if pid is None:
        return 0.0
    children: dict[int, list[int]] = {}
    taken: dict[int, int] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        number = int(path.parent.name)
        children.setdefault(int(fields[1]), []).append(number)
        # With those of its children that have ended.
        taken[number] = sum(map(int, fields[11:15]))
    total, waiting = 0, [pid]
    while waiting:
        number = waiting.pop()
        total += taken.get(number, 0)
        waiting += children.get(number, [])
    return total / _TICKS
