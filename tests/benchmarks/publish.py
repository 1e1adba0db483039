"""Events published faster than any client library could, at a steady rate.

Everything that a message consists of besides its body is encoded once, as the
messages of one worker are alike.  `python publish.py URL --count N --rate R
--batch B` publishes from a process of its own and prints how long it took; with
`--traffic` what a cluster publishes, and what that was as JSON.
"""

from __future__ import annotations

import argparse
import base64
import itertools
import json
import random
import struct
import time
from collections import Counter
from itertools import islice
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from amqp.basic_message import Message
from kombu.connection import Connection

from evtools.transport import get_exchange

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

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


WORKERS, TYPES = 8, 20
#: Events of tasks that a worker of Celery publishes in one message.
BATCH = 24
#: Tasks that are sent between two events of one: it waits, is prefetched, and runs.
_WAITS, _PREFETCHED, _RUNS = 500, 250, 100
_WHEEL = 8192
_TRACEBACK = "Traceback (most recent call last):\n" + "".join(
    f'  File "/srv/shop/.venv/lib/python3.12/site-packages/shop/part{n}.py", line {40 + n}, in '
    f"step{n}\n    return self.step{n + 1}(order, retry=False)\n"
    for n in range(8)
)


class Traffic:
    """What clients and workers publish: types of tasks, arguments, results, failures, retries.

    Clients send each event in a message of its own, workers those of tasks in batches and their
    heartbeats singly.  Begin tasks until there are `count` events, and let all of them end.
    `totals` has the numbers of events by type, and those of "tasks" and "attempts".
    """

    def __init__(self, count: int, *, seed: int = 1) -> None:
        self._count = count
        self._chance = random.Random(seed)
        self.totals: Counter[str] = Counter()
        self._lives = [_traffic_of(kind) for kind in range(TYPES)]
        self._batches: list[list[bytes]] = [[] for _ in range(WORKERS)]
        self._processed = [0] * WORKERS

    def __iter__(self) -> Iterator[tuple[str, bytes, int]]:
        """Yield routing key and body of messages, and how many events are in each."""
        wheel: list[list[tuple[int, bytes, int]]] = [[] for _ in range(_WHEEL)]
        running = events = 0
        totals, batches = self.totals, self._batches
        for slot in itertools.count():
            begun = []
            if events < self._count:
                key = b"%032x" % self._chance.getrandbits(128)
                uuid = b"-".join((key[:8], key[8:12], key[12:16], key[16:20], key[20:]))
                begun = [(slot, uuid, 0)]
                running += 1
                totals["tasks"] += 1
            elif not running:
                break
            due, wheel[slot % _WHEEL] = wheel[slot % _WHEEL], []
            for task, uuid, step in (*begun, *due):
                events += 1
                life = self._lives[task % TYPES]
                kind, delay, templates = life[step]
                totals[kind] += 1
                worker = task * 7 % WORKERS
                text = templates[worker] % {
                    b"uuid": uuid, b"at": b"%.6f" % time.time(), b"number": b"%d" % task,
                    b"clock": b"%d" % events,
                }  # fmt: skip
                if step + 1 == len(life):
                    running -= 1
                else:
                    wheel[(slot + delay) % _WHEEL].append((task, uuid, step + 1))
                if kind == "task-sent":
                    yield "task.sent", text, 1
                    continue
                self._processed[worker] += kind == "task-started"
                batch = batches[worker]
                batch.append(text)
                if len(batch) == BATCH:
                    batches[worker] = []
                    yield "task.multi", b"[" + b", ".join(batch) + b"]", BATCH
            if slot % 5000 == 0:
                for worker in range(WORKERS):
                    totals["worker-heartbeat"] += 1
                    events += 1
                    yield "worker.heartbeat", self._heartbeat(worker, events), 1
        for batch in batches:
            if batch:
                yield "task.multi", b"[" + b", ".join(batch) + b"]", len(batch)
        totals["attempts"] = totals["task-started"]

    def _heartbeat(self, worker: int, clock: int) -> bytes:
        # Some of what it has processed is in its batch yet.
        processed = self._processed[worker] - BATCH
        beat = {
            "hostname": f"celery@worker-{worker}", "utcoffset": 0, "pid": 4000 + worker,
            "clock": clock, "freq": 2.0, "active": 8, "processed": max(0, processed),
            "loadavg": [0.5, 0.6, 0.7], "sw_ident": "py-celery", "sw_ver": "5.5.0",
            "sw_sys": "Linux", "timestamp": time.time(), "type": "worker-heartbeat",
        }  # fmt: skip
        return json.dumps(beat).encode()


def _traffic_of(kind: int) -> list[tuple[str, int, list[bytes]]]:
    """Return the events of a type of task: their type, how long to the next, and text by worker.

    One of ten types fails, and one of twenty is retried once.
    """
    queue = ("default", "mail", "reports")[kind % 3]
    call = {
        "uuid": "<uuid>", "name": f"shop.part{kind % 5}.work{kind}",
        "args": f"(<number>, {['EUR', 'USD', 'GBP'][kind % 3]!r})",
        "kwargs": f"{{'user_id': <number>, 'tenant': 'tenant{kind % 7}', 'retry': False, "
        f"'note': '{'n' * (kind * 9)}'}}",
        "root_id": "<uuid>", "parent_id": None, "retries": 0, "eta": None, "expires": None,
    }  # fmt: skip
    routed = {"queue": queue, "exchange": "", "routing_key": queue}
    started = ("task-started", _RUNS * (1 + kind), {"uuid": "<uuid>"})
    again = []
    if kind == TYPES - 1:
        failed = {"exception": "ConnectionError('no route to host')", "traceback": _TRACEBACK}
        retried = ("task-retried", _WAITS, {"uuid": "<uuid>", **failed})
        again = [retried, ("task-received", _PREFETCHED, {**call, "retries": 1}), started]
    runtime = {"runtime": (1 + kind) * _RUNS / 2500 + 0.00123}
    end = ("task-succeeded", 0, {"uuid": "<uuid>", "result": "{'id': <number>}", **runtime})
    if kind % 10 == 3:
        failed = {"exception": f"ValueError('no {kind}')", "traceback": _TRACEBACK}
        end = ("task-failed", 0, {"uuid": "<uuid>", **failed})
    sent = ("task-sent", _WAITS, {**call, **routed})
    received = ("task-received", _PREFETCHED, call)
    return [
        (type_, delay, [_template(type_, fields, worker) for worker in range(WORKERS)])
        for type_, delay, fields in (sent, received, started, *again, end)
    ]


def _template(type_: str, fields: dict[str, Any], worker: int) -> bytes:
    is_sent = type_ == "task-sent"
    common = {
        "hostname": f"gen{4000 + worker}@web-{worker}" if is_sent else f"celery@worker-{worker}",
        "utcoffset": 0, "pid": 4000 + worker, "clock": "<clock>",
    }  # fmt: skip
    text = json.dumps({**common, **fields, "timestamp": "<at>", "type": type_})
    text = text.replace("%", "%%").replace('"<at>"', "%(at)b").replace('"<clock>"', "%(clock)b")
    return text.replace("<uuid>", "%(uuid)b").replace("<number>", "%(number)b").encode()


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
        messages = ((routing_key, body, batch) for body in bodies(count, batch, **tasks))
        return self.send_all(messages, rate=rate)

    def send_all(self, messages: Iterable[tuple[str, bytes, int]], *, rate: float) -> float:
        """Publish routing keys, bodies and the events in them; return the seconds it took."""
        started = time.monotonic()
        sent = 0
        waiting = iter(messages)
        done = False
        while not done:
            due = int((time.monotonic() - started + _SLICE) * rate)
            parts = []
            while sent < due:
                message = next(waiting, None)
                if message is None:
                    done = True
                    break
                key, body, events = message
                parts.append(self._encode(body, key))
                sent += events
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
    parser.add_argument("--traffic", action="store_true")
    options = parser.parse_args()
    publisher = Publisher(options.url, exchange=options.exchange)
    if options.traffic:
        traffic = Traffic(options.count)
        seconds = publisher.send_all(traffic, rate=options.rate)
        publisher.close()
        print(json.dumps({**traffic.totals, "seconds": seconds}))
        return
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
