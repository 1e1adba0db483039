"""What a page about a million events takes: its time, memory, and size.

Bounds are 60 seconds and 10 MB; memory must not grow with the recording, so that of a
tenth of the events is printed beside it.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tools.incident import record

pytestmark = pytest.mark.bench

_EVTOOLS = Path(sys.executable).with_name("evtools")
_EVENTS = 1_000_000


def measured(path, page):
    """Return the seconds, CPU seconds and MB that a report takes."""
    process = subprocess.Popen(
        [_EVTOOLS, "report", path, "-o", page], stderr=subprocess.PIPE, text=True
    )
    with process.stderr as stderr:
        said = stderr.read()
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = status
    assert status == 0, said
    found = re.search(r"([\d.]+)s$|(\d+)m(\d+)s$", said.strip())
    seconds = float(found[1]) if found[1] else 60.0 * int(found[2]) + int(found[3])
    return seconds, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024


def test_a_million_events_make_a_page(tmp_path, table):
    for count in (_EVENTS // 10, _EVENTS):
        path, page = tmp_path / f"{count}.jsonl", tmp_path / f"{count}.html"
        record(path, count=count, seconds=30_000.0, rate=10)
        seconds, cpu, memory = measured(path, page)
        size = page.stat().st_size / 1e6
        row = f"report, {count:,} events, {path.stat().st_size / 1e6:.0f} MB"
        path.unlink()
        table.append((row, "-", f"{seconds:.1f} s, {cpu:.1f} s CPU", f"{memory:.0f} MB of memory",
                      "60 s, 10 MB", f"page {size:.2f} MB"))  # fmt: skip
        assert cpu < 60
        assert size < 10
        assert memory < 700
