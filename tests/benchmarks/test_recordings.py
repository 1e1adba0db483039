"""What it takes to find a moment in a recording of a gigabyte.

What `-S`, `-U` and both leave out is read, not played: the seconds of CPU that each
tool takes are printed beside those of a program that only reads or unpacks it.
"""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

import pytest

from evtools.clock import SystemClock
from evtools.transport.recording import RecordingWriter
from evtools.wire import encode_line, envelope

pytestmark = pytest.mark.bench

_BIN = Path(sys.executable).parent
_BYTES = 10**9
_BEGIN = 1_795_000_000.0
#: Events a second, in the recording.
_RATE = 1000
_NAMES = ("day.jsonl", "day.jsonl.gz", "day.jsonl.zst")
_UNZSTD = (
    "import sys, zstandard\n"
    "with zstandard.open(sys.argv[1], 'rb') as file:\n"
    "    while file.read(1 << 20): pass"
)
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
    writers = [RecordingWriter(str(folder / name), clock=SystemClock()) for name in _NAMES]
    written = count = 0
    for lines in _lines():
        for line in lines:
            for writer in writers:
                writer.write(line)
            written += len(line) + 1
        count += len(lines)
        if written >= _BYTES:
            break
    for writer in writers:
        writer.close()
    yield folder, _BEGIN + count / _RATE
    for name in _NAMES:
        (folder / name).unlink()


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _seconds(*argv: str) -> float:
    """Return the CPU seconds of a command: a busy machine does not change them."""
    before = _children()
    subprocess.run(argv, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    return _children() - before


@pytest.mark.parametrize("name", _NAMES)
def test_seeking_goes_at_the_speed_of_reading(recordings, name, table):
    folder, end = recordings
    path = str(folder / name)
    unpack = {".gz": ("gzip", "-dc"), ".zst": (sys.executable, "-c", _UNZSTD)}
    reading = _seconds(*unpack.get(Path(name).suffix, ("wc", "-l")), path)
    late, early = ("-S", str(end - 1)), ("-U", str(_BEGIN + 1))
    middle = (_BEGIN + end) / 2
    between = ("-S", str(middle), "-U", str(middle + 1))
    for tool, (command, *how) in _TOOLS.items():
        for what in (late, early, between):
            taken = _seconds(str(_BIN / command), *how, path, *what)
            asked = " ".join(what[::2])
            row = f"{tool} {asked}, 1 GB, {name}"
            table.append((row, "-", f"{taken:.1f} s", f"reading {reading:.1f} s", "10 s", ""))
            assert taken < 10
