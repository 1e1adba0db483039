"""Minutes of load: what evdump must not lose."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from servers.process import wait_until

pytestmark = [pytest.mark.load, pytest.mark.timeout(300)]

RATE = 10_000
SECONDS = 60
_PUBLISH = Path(__file__).with_name("publish.py")


@pytest.mark.parametrize("batch", [24, 1], ids=["batches", "singles"])
def test_a_minute_at_10_000_events_a_second_loses_none(
    batch, broker_url, event_exchange, evdump, tmp_path
):
    count = RATE * SECONDS // batch * batch
    log = tmp_path / "events.log"
    dump = evdump(
        *("-b", broker_url, "--event-exchange", event_exchange, "-w", log),
        *("type:task-*", "-c", count, "--idle", "20s", "--stats", "json"),
    )
    dump.wait_ready()
    published = subprocess.run(
        [
            *(sys.executable, str(_PUBLISH), broker_url, "--exchange", event_exchange),
            *("--count", str(count), "--rate", str(RATE), "--batch", str(batch)),
        ],
        check=True,
        capture_output=True,
        text=True,
    )
    print(published.stdout.strip())
    wait_until(lambda: dump.returncode is not None, what="all events", deadline=120)
    print(dump.stderr)
    with log.open("rb") as file:
        assert sum(1 for _ in file) == count
    assert dump.returncode == 0
