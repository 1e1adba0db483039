"""A recording of our own making: a shop on a usual day, until a payment provider is down.

From 40 to 55 per cent of the time payments are slow and fail, at 50 one of the workers
disappears, and at 70 the recorder has no connection for a while.
"""

from __future__ import annotations

import heapq
import math
import random
from typing import TYPE_CHECKING, Any, NamedTuple

from evtools.wire import encode_line, envelope, gap

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BEGIN = 1_795_010_400.0
_WORKERS = [f"celery@{host}" for host in ("web-1", "web-2", "web-3", "web-4", "batch-1")]


class _Kind(NamedTuple):
    # A type of task: its queue, median seconds, spread, share of failures and of retries, and
    # what it sends.
    queue: str
    seconds: float
    spread: float = 0.5
    fails: float = 0.0
    retries: float = 0.0
    sends: tuple[str, ...] = ()


_KINDS = {
    "shop.web.checkout": _Kind("web", 0.08, sends=(
        "shop.pay.charge", "shop.stock.reserve", "shop.mail.confirm")),
    "shop.pay.charge": _Kind("payments", 0.45, 0.6, 0.012, sends=("shop.ship.label",)),
    "shop.stock.reserve": _Kind("celery", 0.03, 0.4, 0.002),
    "shop.mail.confirm": _Kind("mail", 0.16, 0.7, 0.004, 0.03),
    "shop.ship.label": _Kind("celery", 0.7, 0.4, 0.006, sends=("shop.mail.confirm",)),
    "shop.search.index": _Kind("celery", 0.012, 0.8),
    "shop.images.thumbnail": _Kind("images", 1.6, 0.9, 0.01),
    "shop.reports.daily": _Kind("batch", 24.0, 0.6, 0.02),
}  # fmt: skip
_ROOTS = {"shop.web.checkout": 5, "shop.search.index": 8, "shop.images.thumbnail": 2,
          "shop.reports.daily": 0.04}  # fmt: skip
_RAISED = {
    "shop.pay.charge": ("GatewayTimeout", "no answer from pay-{n}.example.net after 30 s"),
    "shop.mail.confirm": ("SMTPServerDisconnected", "Connection unexpectedly closed"),
    "shop.images.thumbnail": ("UnidentifiedImageError", "cannot identify image file 'img-{n}.jpg'"),
}
_TRACEBACK = """Traceback (most recent call last):
  File "/srv/shop/venv/lib/python3.12/site-packages/celery/app/trace.py", line 453, in trace_task
    R = retval = fun(*args, **kwargs)
  File "/srv/shop/{path}.py", line {line}, in {what}
    return provider.request(order, timeout=30)
  File "/srv/shop/providers.py", line 88, in request
    raise {kind}("{words}")
shop.errors.{kind}: {words}
"""


def incident(seconds: float = 7200.0, rate: float = 1.5, seed: int = 1) -> Iterator[dict[str, Any]]:
    """Yield the events of so many seconds, in order; `rate` workflows begin in each."""
    shop, end, at = _Shop(seed, seconds), BEGIN + seconds, BEGIN
    lost = BEGIN + 0.7 * seconds, BEGIN + 0.7 * seconds + 0.012 * seconds
    shown = False
    while at < end:
        share = (at - BEGIN) / seconds
        at += shop.chance.expovariate(rate * (1.1 + 0.5 * math.sin(7 * share)))
        names = [*_ROOTS]
        [name] = shop.chance.choices(names, [_ROOTS[each] for each in names])
        shop.send(name, at, None, None)
        for moment, event in shop.until(at):
            if lost[0] < moment < lost[1]:
                continue
            if moment >= lost[1] and not shown:
                shown = True
                hole = gap("reconnect", *lost, error="Connection reset by peer").original
                yield {**hole, "local_received": lost[1]}
            if moment < end:
                yield event


class _Shop:
    def __init__(self, seed: int, seconds: float) -> None:
        self.chance = random.Random(seed)
        self._seconds = seconds
        self._waiting: list[tuple[float, int, dict[str, Any]]] = []
        self._number = self._beat = self._clock = 0
        self._processed = dict.fromkeys([*_WORKERS, "gen1@web"], 0)

    def until(self, moment: float) -> Iterator[tuple[float, dict[str, Any]]]:
        while BEGIN + 10 * self._beat < moment:
            for worker in _WORKERS:
                at = BEGIN + 10 * self._beat
                if not self._is_gone(worker, at):
                    self._add(at, "worker-heartbeat", hostname=worker, freq=10.0, active=2,
                              processed=self._processed[worker], loadavg=[0.4, 0.5, 0.5],
                              sw_ident="py-celery", sw_ver="5.6.2", sw_sys="Linux")  # fmt: skip
            self._beat += 1
        while self._waiting and self._waiting[0][0] <= moment:
            at, _, event = heapq.heappop(self._waiting)
            self._clock += 1
            self._processed[event["hostname"]] += event["type"] == "task-started"
            event |= {"timestamp": at, "local_received": at + 0.004, "clock": self._clock}
            yield at, event

    def _add(self, at: float, kind: str, **fields: Any) -> None:
        self._clock += 1
        event = {"type": kind, "utcoffset": 0, "pid": 7, **fields}
        heapq.heappush(self._waiting, (at, self._clock, event))

    def _is_gone(self, worker: str, at: float) -> bool:
        return worker == "celery@web-3" and at > BEGIN + 0.5 * self._seconds

    def send(self, name: str, at: float, parent: str | None, root: str | None) -> None:
        """Plan what happens to a task that is sent at a time."""
        chance, kind = self.chance, _KINDS[name]
        self._number += 1
        uuid = f"{chance.getrandbits(128):032x}"
        uuid = f"{uuid[:8]}-{uuid[8:12]}-4{uuid[13:16]}-9{uuid[17:20]}-{uuid[20:]}"
        root = root or uuid
        down = name == "shop.pay.charge" and 0.4 < (at - BEGIN) / self._seconds < 0.55
        workers = _WORKERS[-1:] if kind.queue == "batch" else _WORKERS[:-1]
        worker = chance.choice([each for each in workers if not self._is_gone(each, at)])
        about = {"uuid": uuid, "name": name, "args": f"(order={self._number},)", "kwargs": "{}",
                 "root_id": root, "parent_id": parent, "retries": 0, "eta": None,
                 "expires": None}  # fmt: skip
        of_worker = {"uuid": uuid, "hostname": worker}
        started = at + chance.lognormvariate(-4, 0.7) * (40 if down else 1)
        seconds = chance.lognormvariate(math.log(kind.seconds), kind.spread)
        seconds *= 9 if down else 1
        self._add(at, "task-sent", hostname="gen1@web", queue=kind.queue, exchange="",
                  routing_key=kind.queue, **about)  # fmt: skip
        self._add(at + 0.002, "task-received", hostname=worker, **about)
        self._add(started, "task-started", **of_worker)
        if self._is_gone(worker, started + seconds):
            return
        if chance.random() < kind.retries:
            self._add(started + seconds, "task-retried", exception="SMTPServerBusy()",
                      traceback="", **of_worker)  # fmt: skip
            about, started = {**about, "retries": 1}, started + seconds + 3
            self._add(started - 0.01, "task-received", hostname=worker, **about)
            self._add(started, "task-started", **of_worker)
        if chance.random() < (0.45 if down else kind.fails):
            raised, words = _RAISED.get(name, ("OperationalError", "deadlock; process {n} waits"))
            words = words.format(n=self._number % 7)
            path, _, what = name.replace(".", "/").rpartition("/")
            told = _TRACEBACK.format(path=path, line=40 + len(name), what=what, kind=raised,
                                     words=words)  # fmt: skip
            self._add(started + seconds, "task-failed", exception=f'{raised}("{words}")',
                      traceback=told, **of_worker)  # fmt: skip
            return
        self._add(started + seconds, "task-succeeded", result="None", runtime=seconds, **of_worker)
        for other in kind.sends:
            self.send(other, started + seconds * chance.random(), uuid, root)


def record(path: Path, *, count: int | None = None, **how: Any) -> None:
    """Write a recording, of no more than `count` events."""
    with path.open("wb") as file:
        for number, event in enumerate(incident(**how)):
            if number == count:
                return
            file.write(encode_line(envelope(event)) + b"\n")
