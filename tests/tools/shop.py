"""What happened in the cluster of a shop, the same each time: for pictures of evtop.

It has whatever makes a screen hard: names that are too long or in other scripts, a type that
fails, one that has become slower, workers that are gone, late, offline or ahead of our clock, a
workflow, tasks with an ETA, retries.
"""

from __future__ import annotations

from datetime import UTC, datetime
from random import Random
from typing import Any, NamedTuple

#: When it ends, in UTC epoch seconds, and how long it takes before that.
END = 1_763_640_000.0
LASTS = 4700.0
_HOUR_AGO, _RECENT = 3600.0, 900.0
#: Time between two heartbeats, and between an event and its receipt, in seconds.
_BEAT = 10.0
_DELAY = 0.003

LONG = "celery@shop-worker-billing-7d9f8b6c5d-x2x9z.prod.svc.cluster.local"


class _Kind(NamedTuple):
    # A type of task: how often it is sent relative to others, and the mean of its run time.
    name: str
    queue: str
    weight: float
    runtime: float
    args: str
    kwargs: str = "{}"
    result: str = "None"


_KINDS = (
    _Kind("shop.web.checkout", "celery", 8, 0.06, "({0},)", "{'tenant': 'acme'}", "'confirmed'"),
    _Kind("shop.billing.charge", "billing", 5, 0.9, "({0}, 'EUR')"),
    _Kind("shop.mail.send", "mail", 4, 0.2, "('田中@example.jp', 'ご注文ありがとうございます 🎉')"),
    _Kind("shop.images.thumbnail", "images", 2, 1.1, "('img-{0}.jpg', 256)"),
    _Kind("shop.stock.同期", "celery", 1, 0.4, "('warehouse-{0}',)"),
    _Kind(
        "shop.reports.monthly.revenue.by_country_and_payment_method.build_and_upload",
        "reports.nightly", 0.5, 14.0, "('2025-11',)", "{}", "'s3://reports/2025-11.pdf'",
    ),
    _Kind("e", "celery", 0.5, 0.002, "()"),
)  # fmt: skip
_WORKERS = {
    "celery": ("w1@web-1", "w2@web-1"),
    "billing": (LONG, "w2@web-1"),
    "mail": ("mail@web-2",),
    "images": ("images@render-7", "images@render-8"),
    "reports.nightly": ("w1@web-1",),
    "orders": ("w2@web-1",),
}
#: How far the clocks of workers are ahead, when they were seen last, in seconds before the end.
_AHEAD = {"images@render-8": 7.2}
_LAST = {"images@render-7": 130.0, "mail@web-2": 26.0, "w0@old-host": 420.0}
#: Since when the worker of mail, which is late, says nothing at all.
_QUIET = 35.0
_TRACEBACK = """Traceback (most recent call last):
  File "/srv/shop/celery/app/trace.py", line 453, in trace_task
    R = retval = fun(*args, **kwargs)
  File "/srv/shop/billing/tasks.py", line 87, in charge
    return gateway.charge(order_id, amount=order.total, currency=currency, idempotency_key=key)
  File "/srv/shop/billing/gateway.py", line 41, in charge
    raise CardError(f"card {card.last4} declined: {answer.reason} (issuer {answer.issuer})")
shop.billing.errors."""


class Shop:
    """Makes the events, in the order in which they are received."""

    def __init__(self) -> None:
        self._random = Random(15).random
        self._events: list[tuple[float, dict[str, Any]]] = []
        #: By worker, when tasks began and ended.
        self._runs: list[tuple[str, float, float]] = []
        self._count = 0

    def events(self) -> list[dict[str, Any]]:
        """Return all events."""
        for since, until, rate in (
            (LASTS, _HOUR_AGO, 0.7), (_HOUR_AGO, _RECENT, 0.05), (_RECENT, 1.0, 1.2),
        ):  # fmt: skip
            at = END - since
            while (at := at + self._spread(1 / rate)) < END - until:
                self._any_task(at)
        self._workflow(END - 58)
        self._open_tasks()
        self._beats()
        seen = sorted((pair for pair in self._events if pair[0] <= END), key=lambda pair: pair[0])
        for clock, (_, event) in enumerate(seen, 1):
            event["clock"] = clock
        return [event for _, event in seen]

    def _spread(self, mean: float) -> float:
        # From a half to one and a half of it.
        return mean * (0.5 + self._random())

    def _uuid(self) -> str:
        self._count += 1
        digits = f"{int(self._random() * 16**8):08x}"
        return f"{digits}-{self._count:04x}-4000-8000-{self._count * 7919:012x}"

    def _add(self, type_: str, at: float, hostname: str, **fields: Any) -> None:
        sent = at + _AHEAD.get(hostname, 0.0)
        event = {"type": type_, "timestamp": round(sent, 6), "hostname": hostname}
        event |= {"local_received": round(at + _DELAY, 6), "utcoffset": 0, "pid": 7, **fields}
        self._events.append((at, event))

    def _beats(self) -> None:
        names = sorted({name for each in _WORKERS.values() for name in each} | {"w0@old-host"})
        for number, name in enumerate(names):
            at, last = END - LASTS + number / 10, END - _LAST.get(name, 0.0)
            processed = 1000 * number
            while at <= last:
                active = sum(one == name and a <= at < b for one, a, b in self._runs)
                load = [round(active / 2 + 0.3, 2), 0.8, 0.75]
                vitals = {"freq": _BEAT, "active": active, "processed": processed, "loadavg": load}
                software = {"sw_ident": "py-celery", "sw_ver": "5.5.3", "sw_sys": "Linux"}
                self._add("worker-heartbeat", at, name, **vitals, **software)
                processed += sum(one == name and at <= a < at + _BEAT for one, a, _ in self._runs)
                at += _BEAT
        self._add("worker-offline", END - _LAST["w0@old-host"], "w0@old-host", freq=_BEAT)

    def _any_task(self, at: float) -> None:
        left = self._random() * sum(kind.weight for kind in _KINDS)
        for kind in _KINDS:
            left -= kind.weight
            if left < 0:
                break
        if kind.queue == "mail" and at > END - _QUIET:
            return
        runtime, recent = self._spread(kind.runtime), at > END - _RECENT
        if kind.name == "shop.images.thumbnail" and recent:
            runtime *= 3
        error, chance = "", self._random()
        if kind.name == "shop.billing.charge" and chance < (0.3 if recent else 0.02):
            card = int(1000 + 9000 * self._random())
            error = f"CardError('card {card} declined: insufficient funds (issuer DE)')"
        elif kind.name == "shop.billing.charge" and chance > 0.95 and at > END - 200:
            error = "GatewayTimeout('no answer from 10.0.0.7:8443 after 30.2s')"
        elif kind.name == "shop.stock.同期" and chance < 0.2:
            error = "OperationalError('デッドロックが検出されました')"
        self.task(kind, at, runtime, error=error)

    def task(
        self, kind: _Kind, at: float, runtime: float, *, wait: float = 0.0, error: str = "",
        upto: str = "", worker: str = "", uuid: str = "", **fields: Any,
    ) -> str:  # fmt: skip
        """Add the events of a task that is sent at a time; return its id.

        With `upto` it ends there: "received" or "started".
        """
        uuid = uuid or self._uuid()
        names = _WORKERS[kind.queue]
        there = [one for one in names if at + runtime < END - _LAST.get(one, 0.0)] or names[-1:]
        worker = worker or there[int(self._random() * len(there))]
        args = kind.args.format(int(1000 + 9000 * self._random()))
        told: dict[str, Any] = {"uuid": uuid, "name": kind.name, "args": args, "retries": 0}
        told |= {"kwargs": kind.kwargs, "root_id": uuid, "parent_id": None, **fields}
        self._add("task-sent", at, "gen4120@web-1", queue=kind.queue, **told)
        received = at + 0.004
        started = received + (wait or self._spread(0.05))
        ended = started + runtime
        self._add("task-received", received, worker, **told)
        if upto != "received":
            self._add("task-started", started, worker, uuid=uuid)
            self._runs.append((worker, started, END if upto else ended))
        if upto:
            return uuid
        if error:
            text = _TRACEBACK + error.replace("('", ": ").replace("')", "")
            self._add("task-failed", ended, worker, uuid=uuid, exception=error, traceback=text)
        else:
            facts = {"uuid": uuid, "result": kind.result, "runtime": round(runtime, 6)}
            self._add("task-succeeded", ended, worker, **facts)
        return uuid

    def _workflow(self, at: float) -> None:
        # An order: three packs at once, of each a label, one of which is retried and fails.
        order = _Kind("shop.orders.fulfil", "orders", 0, 0.6, "({0},)", "{'user_id': 42}")
        pack = _Kind("shop.orders.pack", "orders", 0, 2.0, "('item-{0}',)")
        label = _Kind("shop.orders.label", "orders", 0, 0.8, "({0},)")
        root = self.task(order, at, 0.6, uuid="0bde4200-0042-4000-8000-000000000042")
        for number in range(3):
            sent = at + 0.5
            told = {"root_id": root, "parent_id": root}
            parent = self.task(pack, sent, 1.5 + number, wait=0.4 * number, **told)
            told = {"root_id": root, "parent_id": parent}
            sent += 1.9 + 1.4 * number
            if number != 1:
                self.task(label, sent, 0.8, **told)
                continue
            uuid, worker = self._uuid(), "w2@web-1"
            self.task(label, sent, 0.8, upto="started", uuid=uuid, worker=worker, **told)
            self._runs.pop()
            error = "PrinterError('out of paper')"
            self._add("task-retried", sent + 1, worker, uuid=uuid, exception=error)
            self.task(label, sent + 4, 0.8, error=error, uuid=uuid, **told | {"retries": 1})

    def _open_tasks(self) -> None:
        charge, mail, images, reports = (_KINDS[n] for n in (1, 2, 3, 5))
        gone = "images@render-7"
        for number in range(2):
            self.task(images, END - 150 + number, 0, upto="started", worker=gone)
        self.task(images, END - 140, 0, upto="received", worker=gone)
        report = self.task(reports, END - 245, 0, upto="started", worker="w1@web-1")
        progress = {"uuid": report, "progress": 62, "of": "pages"}
        self._add("task-progress", END - 9, "w1@web-1", **progress)
        self.task(charge, END - 6, 0, upto="started", worker=LONG)
        self.task(charge, END - 5, 0, upto="received", worker=LONG)
        later = datetime.fromtimestamp(END + 840, UTC).isoformat()
        remind = _Kind("shop.offers.remind", "celery", 0, 0.1, "({0},)")
        self.task(remind, END - 4, 0, upto="received", worker="w2@web-1", eta=later)
        uuid = self.task(mail, END - 40, 0.2, upto="started", worker="mail@web-2")
        self._runs.pop()
        error = "SMTPServerDisconnected('Connection unexpectedly closed: timed out')"
        self._add("task-retried", END - 39, "mail@web-2", uuid=uuid, exception=error)
        again = datetime.fromtimestamp(END + 14, UTC).isoformat()
        self.task(
            mail,
            END - 38.9,
            0,
            upto="received",
            worker="mail@web-2",
            uuid=uuid,
            eta=again,
            retries=1,
        )
        self._runs = [each for each in self._runs if each[:1] != ("mail@web-2",) or each[2] < END]
