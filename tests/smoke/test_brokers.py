"""The standalone program at real brokers, plain and encrypted."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from servers.redis import RedisServer


def addresses(broker, *, tls):
    """Return where to publish, and where to listen."""
    if isinstance(broker, RedisServer):
        plain = broker.fresh_url()
        number = plain.rpartition("/")[2]
        return plain, f"rediss://localhost:{broker.tls_port}/{number}" if tls else plain
    return broker.url, broker.tls_url if tls else broker.url


def receives(evdump, sender):
    """Say whether the program gets what is published."""
    evdump.wait_stderr("listening on", deadline=40)
    sender.send("worker-heartbeat", hostname="smoke@host", freq=2.0)
    (line,) = evdump.lines(1)
    assert json.loads(line)["hostname"] == "smoke@host"
    return evdump.wait() == 0


ARGUMENTS = ("-c", "1", "-o", "json", "--timeout", "60s")


def test_events_come_in(broker, start, sender):
    publish, listen = addresses(broker, tls=False)
    assert receives(start("evdump", "-b", listen, *ARGUMENTS), sender(publish))


def test_events_come_in_over_tls_with_a_ca_of_ones_own(
    broker, authority, folder, place, start, sender
):
    publish, listen = addresses(broker, tls=True)
    ca = folder / "ca.pem"
    shutil.copy(authority.ca, ca)
    evdump = start("evdump", "-b", listen, "--tls-ca", place.seen(ca), *ARGUMENTS)
    assert receives(evdump, sender(publish))


def test_a_stranger_is_not_trusted(broker, program):
    _, listen = addresses(broker, tls=True)
    done = program.run("evdump", "-b", listen, "-c", "1", "--timeout", "10s")
    assert done.returncode == 69
    assert "certificate" in done.stderr.lower()


@pytest.fixture
def system_ca(authority, place, folder):
    """Add our CA to those that the system trusts, as its administrator does."""
    if place.root is None or place.user:
        # Not on the machine of whoever runs this, nor in an image: a file stands in for it.
        shutil.copy(authority.ca, folder / "ca.pem")
        yield {"SSL_CERT_FILE": str(place.seen(folder / "ca.pem"))}
        return
    bundle = place.root / "etc/ssl/certs/ca-certificates.crt"
    before = bundle.read_bytes() if bundle.exists() else None
    bundle.parent.mkdir(parents=True, exist_ok=True)
    bundle.write_bytes((before or b"") + Path(authority.ca).read_bytes())
    yield {}
    if before is None:
        bundle.unlink()
    else:
        bundle.write_bytes(before)


def test_events_come_in_over_tls_with_a_ca_of_the_system(broker, system_ca, start, sender):
    publish, listen = addresses(broker, tls=True)
    evdump = start("evdump", "-b", listen, *ARGUMENTS, env=system_ca)
    assert receives(evdump, sender(publish))


def test_a_recording_replays_in_both_tools(program, folder, place):
    tape = folder / "tape.jsonl"
    made = program.run("evdump", "--demo", "-c", "60", "-w", place.seen(tape))
    assert made.returncode == 0, made.stderr
    read = program.run("evdump", "-r", place.seen(tape), "-o", "json")
    assert len(read.stdout.splitlines()) >= 60
    shown = program.run("evtop", "-B", "-n", "1", "-r", place.seen(tape))
    assert shown.returncode == 0, shown.stderr
    assert "@demo-" in shown.stdout
