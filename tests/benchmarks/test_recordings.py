"""How long it takes to find a minute in a recording of a gigabyte.

What `-S`, `-U` and both leave out is read, not played: the seconds of each tool are
printed beside those of `wc -l`, which reads and does nothing else, and of evdump
without them, which decodes and prints everything.
"""

from __future__ import annotations

import gzip
import subprocess
import sys
import time
from pathlib import Path

import pytest
import zstandard

from evtools.clock import SystemClock
from evtools.transport.tape import TapeWriter
from evtools.wire import encode_line, envelope

pytestmark = pytest.mark.bench

_BIN = Path(sys.executable).parent
_BYTES = 10**9
_BEGIN = 1_795_000_000.0
#: Events a second, in the recording.
_RATE = 1000
_NAMES = ("day.jsonl", "day.jsonl.gz", "day.jsonl.zst")
_READERS = {".jsonl": "cat", ".gz": "gzip -dc", ".zst": "zstd -dc"}
_TOOLS = {
    "evdump": ("evdump", "-q", "-r"),
    "evtop -B": ("evtop", "-B", "-r"),
    "evcam": ("evcam", "-q", "-c", "jsonl:/dev/null", "-F", "10m", "--read"),
}


def _lines():
    """Yield what a busy cluster sends, thousands of lines at once."""
    number = 0
    while True:
        lines = []
        for number in range(number, number + 5000):  # noqa: B020  (goes on)
            moment = _BEGIN + number / _RATE
            event = {
                "type": ("task-received", "task-started", "task-succeeded")[number % 3],
                "hostname": f"celery@worker-{number % 7}.example.com",
                "uuid": f"{number // 3:032x}",
                "name": "proj.tasks.send_invoice",
                "args": "(4711, 'EUR')",
                "kwargs": "{'retry': True, 'to': 'someone@example.com'}",
                "clock": number,
                "timestamp": moment,
                "local_received": moment + 0.01,
            }
            lines.append(encode_line(envelope(event)))
        number += 1
        yield lines


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    """Make the recordings; return their folder, and when they end."""
    folder = tmp_path_factory.mktemp("recordings")
    written, lines = 0, _lines()
    writer = TapeWriter(str(folder / _NAMES[0]), clock=SystemClock())
    count = 0
    while written < _BYTES:
        for line in next(lines):
            writer.write(line)
            written += len(line) + 1
            count += 1
    writer.close()
    plain = folder / _NAMES[0]
    for name in _NAMES[1:]:
        packed = TapeWriter(str(folder / name), clock=SystemClock())
        with plain.open("rb") as file:
            for line in file:
                packed.write(line.rstrip(b"\n"))
        packed.close()
    yield folder, _BEGIN + count / _RATE
    for name in _NAMES:
        (folder / name).unlink()


def _seconds(*argv: str) -> float:
    begin = time.monotonic()
    subprocess.run(argv, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    return time.monotonic() - begin


def _reading(path: Path) -> float:
    """Return the seconds that unpacking and counting the lines takes."""
    begin = time.monotonic()
    opened = {".gz": gzip.open, ".zst": zstandard.open}.get(path.suffix, open)
    with opened(path, "rb") as file:
        while file.read(1 << 20):
            pass
    return time.monotonic() - begin


@pytest.mark.parametrize("name", _NAMES)
def test_seeking_goes_at_the_speed_of_reading(recordings, name, table):
    folder, end = recordings
    path = folder / name
    reading = _reading(path)
    late, early = str(end - 60), str(_BEGIN + 60)
    middle = (_BEGIN + end) / 2
    between = ("-S", str(middle), "-U", str(middle + 60))
    for tool, (command, *how) in _TOOLS.items():
        for what in (("-S", late), ("-U", early), between):
            taken = _seconds(str(_BIN / command), *how, str(path), *what)
            asked = " ".join(word for word in what if word.startswith("-"))
            row = (f"{tool} {asked} of 1 GB, {name}", f"{reading:.1f} s reading")
            table.append((*row, f"{taken:.1f} s", f"{taken / reading:.1f}", "", ""))
            # With no more than what reading and starting take, many times over.
            assert taken < 20 + 20 * reading
