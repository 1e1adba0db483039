"""Events published faster than any client library could, at a steady rate.

Everything that a message consists of besides its body is encoded once, as the
messages of one worker are alike.  `python publish.py URL --count N --rate R
--batch B` publishes from a process of its own and prints how long it took.
"""

from __future__ import annotations

import argparse
import base64
import itertools
import json
import struct
import time
from itertools import islice
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from amqp.basic_message import Message
from kombu.connection import Connection

from evtools.transport import get_exchange

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Events go out in slices of this many seconds.
_SLICE = 0.02
_PLACE = "00000000-0000-4000-8000-%012d"


def bodies(
    count: int,
    batch: int,
    *,
    first: int = 0,
    kinds: int = 1,
    apart: int = 0,
    unknown: int = 0,
    now: bool = False,
) -> Iterator[bytes]:
    """Yield bodies with `count` events of tasks, `batch` in each; 1: no list.

    The tasks are numbered from `first` on, and of `kinds` different types.  Between two
    events of a task `apart` others begin.  Each event has `unknown` fields that Celery
    does not send.  They are of one moment, or with `now` of when they are published.
    """
    events = islice(_events(first, kinds, apart, unknown), count)
    if now:
        events = (event.replace(_MOMENT, b"%d" % time.time()) for event in events)
    if batch == 1:
        yield from events
        return
    waiting: list[bytes] = []
    for event in events:
        waiting.append(event)
        if len(waiting) == batch:
            yield b"[" + b", ".join(waiting) + b"]"
            waiting = []
    if waiting:
        yield b"[" + b", ".join(waiting) + b"]"


def _events(first: int, kinds: int, apart: int, unknown: int) -> Iterator[bytes]:
    """Yield events without end."""
    more = {f"unknown-{number}": "eu-central-1" for number in range(unknown)}
    lives = [[json.dumps(more | event).encode() for event in _life(n)] for n in range(kinds)]
    for slot in itertools.count():
        for step in range(len(_TASK)):
            task = slot - step * apart
            if task >= 0:
                place = (_PLACE % (first + task)).encode()
                yield lives[task % kinds][step].replace(b"UUID", place)


#: The whole seconds of the time of all events.
_MOMENT = b"1795186532"
_COMMON = {
    "hostname": "celery@bench-1",
    "utcoffset": 0,
    "pid": 4711,
    "clock": 123456,
    "uuid": "UUID",
}
_TASK = (
    {
        **_COMMON,
        "name": "proj.billing.charge",
        "args": "(4411, 'EUR')",
        "kwargs": "{'retry': False}",
        "root_id": "UUID",
        "parent_id": None,
        "retries": 0,
        "eta": None,
        "expires": None,
        "timestamp": 1795186532.103655,
        "type": "task-received",
    },
    {**_COMMON, "timestamp": 1795186532.203655, "type": "task-started"},
    {
        **_COMMON,
        "result": "{'charged': 4411}",
        "runtime": 0.10342,
        "timestamp": 1795186532.303655,
        "type": "task-succeeded",
    },
)


def _life(kind: int) -> list[dict[str, Any]]:
    """Return the events of a task; every fifth kind fails."""
    if not kind:
        return list(_TASK)
    told = {"hostname": f"celery@bench-{kind % 7}", "pid": 4711 + kind}
    events = [fields | told for fields in _TASK]
    events[0]["name"] = f"proj.part{kind % 11}.work{kind}"
    if kind % 5 == 0:
        events[2] |= {"type": "task-failed", "exception": f"ValueError('no {kind}')"}
    else:
        events[2]["runtime"] = kind / 10
    return events


class Publisher:
    """Publish bodies to the event exchange of `url`, each under `routing_key`."""

    def __init__(self, url: str, *, exchange: str = "celeryev") -> None:
        self._exchange = exchange
        self._connection = Connection(url)
        self._channel = self._connection.default_channel
        get_exchange(self._connection, exchange)(self._channel).declare()
        if urlsplit(url).scheme.startswith("redis"):
            pool = self._channel._get_pool()
            self._redis = pool.get_connection()
            self._sock = self._redis._sock
            self._encode = self._redis_command
        else:
            self._sock = self._connection.connection.transport.sock
            self._sock.settimeout(None)
            self._encode = self._amqp_frames
        self._answers = 0

    def send(
        self,
        count: int,
        *,
        rate: float,
        batch: int = 1,
        routing_key: str = "task.multi",
        **tasks: int,
    ) -> float:
        """Publish `count` events at `rate` events/s; return the seconds it took.

        `tasks` are `first`, `kinds`, `apart`, `unknown` and `now` of `bodies`.
        """
        started = time.monotonic()
        sent = 0
        waiting = bodies(count, batch, **tasks)
        done = False
        while not done:
            due = int((time.monotonic() - started + _SLICE) * rate)
            parts = []
            while sent < due:
                body = next(waiting, None)
                if body is None:
                    done = True
                    break
                parts.append(self._encode(body, routing_key))
                sent += batch
            if parts:
                self._sock.sendall(b"".join(parts))
            self._discard_answers()
            time.sleep(max(0.0, started + sent / rate - _SLICE - time.monotonic()))
        return time.monotonic() - started

    def _discard_answers(self) -> None:
        """Read what Redis answers, so that it need not wait for us."""
        self._sock.setblocking(False)
        try:
            while self._sock.recv(1 << 16):
                pass
        except BlockingIOError:
            pass
        finally:
            self._sock.setblocking(True)

    def _redis_command(self, body: bytes, routing_key: str) -> bytes:
        envelope = _ENVELOPE % base64.b64encode(body)
        topic = self._channel._get_publish_topic(self._exchange, routing_key)
        prefixed = f"{self._channel.global_keyprefix}{topic}".encode()
        return b"*3\r\n$7\r\nPUBLISH\r\n$%d\r\n%s\r\n$%d\r\n%s\r\n" % (
            len(prefixed),
            prefixed,
            len(envelope),
            envelope,
        )

    def _amqp_frames(self, body: bytes, routing_key: str) -> bytes:
        exchange, key = self._exchange.encode(), routing_key.encode()
        method = struct.pack(
            f">HHHB{len(exchange)}sB{len(key)}sB",
            *(60, 40, 0, len(exchange), exchange, len(key), key, 0),
        )
        header = struct.pack(">HHQ", 60, 0, len(body)) + _PROPERTIES
        return b"".join(
            self._frame(kind, payload) for kind, payload in ((1, method), (2, header), (3, body))
        )

    def _frame(self, kind: int, payload: bytes) -> bytes:
        head = struct.pack(">BHI", kind, self._channel.channel_id, len(payload))
        return head + payload + b"\xce"

    def close(self) -> None:
        """Leave the broker."""
        self._connection.release()


_PROPERTIES = Message(
    content_type="application/json",
    content_encoding="utf-8",
    application_headers={"hostname": "celery@bench-1"},
    delivery_mode=1,
    priority=0,
)._serialize_properties()

_ENVELOPE = (
    json.dumps(
        {
            "body": "BODY",
            "content-encoding": "utf-8",
            "content-type": "application/json",
            "headers": {"hostname": "celery@bench-1"},
            "properties": {
                "delivery_mode": 1,
                "delivery_info": {"exchange": "celeryev", "routing_key": "task.multi"},
                "priority": 0,
                "body_encoding": "base64",
                "delivery_tag": "00000000-0000-4000-8000-000000000000",
            },
        }
    )
    .replace("BODY", "%s")
    .encode()
)


def main() -> None:
    """Publish from a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--rate", type=float, required=True)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--exchange", default="celeryev")
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--kinds", type=int, default=1)
    parser.add_argument("--apart", type=int, default=0)
    parser.add_argument("--now", action="store_true")
    options = parser.parse_args()
    publisher = Publisher(options.url, exchange=options.exchange)
    seconds = publisher.send(
        options.count,
        rate=options.rate,
        batch=options.batch,
        first=options.first,
        kinds=options.kinds,
        apart=options.apart,
        now=options.now,
    )
    publisher.close()
    print(f"{options.count} events in {seconds:.2f} s")


if __name__ == "__main__":
    main()
