"""A Celery application whose tasks end in every way that a task can end.

`celery -A cluster.app worker` reads CLUSTER_* from the environment. Tests call
`make_app` and send by name: `app.send_task("cluster.add", args=(2, 3))`.
"""

from __future__ import annotations

import itertools
import json
import math
import os
import signal
import ssl
import time
import uuid
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from celery import Celery
from celery.exceptions import Ignore, Reject, SoftTimeLimitExceeded

if TYPE_CHECKING:
    from pathlib import Path

# What a task may be called with, raise or report, and no terminal should be shown raw.
HOSTILE = (
    "two\nlines\ttab \x1b[31mred\x1b[0m \x1b]0;title\x07 \u202eright-to-left\u202c "
    "\x9b2J \u2028 [bold]markup[/bold] naïve 日本語 \U0001f980 {0} %s"
)

# Longer than the 1024 characters at which Celery cuts args and results.
LONG = "long " * 1000

# A result backend that every process has for itself.
NO_RESULTS = "cache+memory://"

_numbers = itertools.count(1)


class HostileError(Exception):
    """An exception whose text is HOSTILE."""


def make_app(
    broker_url: str,
    event_exchange: str = "celeryev",
    *,
    queue: str = "celery",
    result_backend: str = NO_RESULTS,
    ca: str | Path | None = None,
) -> Celery:
    """Return an application without tasks, set up as the workers are.

    `ca` is what to trust with an amqps:// or rediss:// URL. Chords need a
    `result_backend` that processes share.
    """
    made = Celery("cluster", broker=broker_url, set_as_current=False)
    # kombu keeps one pool for all connections with equal settings; a name makes ours
    # different, so that closing the pool of one application leaves the others alone.
    name = f"cluster {next(_numbers)}"
    made.conf.update(
        broker_transport_options={"client_properties": {"connection_name": name}},
        broker_connection_retry_on_startup=True,
        broker_pool_limit=4,
        event_exchange=event_exchange,
        result_backend=result_backend,
        result_extended=True,
        task_default_queue=queue,
        task_send_sent_event=True,
        task_track_started=True,
        worker_prefetch_multiplier=1,
        worker_send_task_events=True,
        **(_trusting(broker_url, str(ca)) if ca else {}),
    )
    return made


def _trusting(broker_url: str, ca: str) -> dict[str, Any]:
    if broker_url.startswith("rediss"):
        tls = {"ssl_cert_reqs": ssl.CERT_REQUIRED, "ssl_ca_certs": ca}
    else:
        tls = {"cert_reqs": ssl.CERT_REQUIRED, "ca_certs": ca}
    return {"broker_use_ssl": tls}


def _app_of_environment() -> Celery:
    return make_app(
        os.environ.get("CLUSTER_BROKER_URL", "memory://"),
        os.environ.get("CLUSTER_EVENT_EXCHANGE", "celeryev"),
        queue=os.environ.get("CLUSTER_QUEUE", "celery"),
        result_backend=os.environ.get("CLUSTER_RESULT_BACKEND", NO_RESULTS),
        ca=os.environ.get("CLUSTER_CA"),
    )


app = _app_of_environment()


@app.task(name="cluster.add")
def add(left: int, right: int) -> int:
    """Succeed."""
    return left + right


@app.task(name="cluster.echo")
def echo(*args: Any, **kwargs: Any) -> Any:
    """Succeed with whatever it was called with."""
    return args, kwargs


@app.task(name="cluster.fail")
def fail(text: str = HOSTILE) -> None:
    """Fail with a text nobody should print as it is."""
    raise HostileError(text)


@app.task(name="cluster.refuse")
def refuse(*args: Any, **kwargs: Any) -> None:
    """Fail with whatever it was called with, as JSON."""
    raise ValueError(json.dumps([args, kwargs]))


@app.task(name="cluster.retry", bind=True, max_retries=2)
def retry(self: Any, attempts: int) -> str:
    """Succeed at the given attempt; with more than three, fail after three."""
    if self.request.retries + 1 < attempts:
        raise self.retry(countdown=0.1, exc=HostileError(HOSTILE))
    return f"attempt {self.request.retries + 1}"


@app.task(name="cluster.persevere", bind=True, max_retries=None)
def persevere(self: Any, attempts: int) -> str:
    """Succeed at the given attempt, however many that takes."""
    if self.request.retries + 1 < attempts:
        # Attempts must not overlap: each tells the result backend how it ended.
        raise self.retry(countdown=0.5, exc=HostileError(HOSTILE))
    return f"attempt {self.request.retries + 1}"


@app.task(name="cluster.reject", bind=True, acks_late=True)
def reject(self: Any, *, requeue: bool) -> str:
    """Reject the message; when it went back to the queue, succeed the second time."""
    if self.request.delivery_info["redelivered"]:
        return "redelivered"
    raise Reject(HOSTILE, requeue=requeue)


@app.task(name="cluster.ignore")
def ignore() -> None:
    """End without any event that says so."""
    raise Ignore


@app.task(name="cluster.occupy")
def occupy(seconds: float) -> float:
    """Keep a process busy; what is to be terminated or to time out."""
    time.sleep(seconds)
    return seconds


@app.task(name="cluster.soft_limit", soft_time_limit=1)
def soft_limit(*, survive: bool) -> str:
    """Run into the soft time limit and either survive it or fail."""
    try:
        time.sleep(30)
    except SoftTimeLimitExceeded:
        if not survive:
            raise
    return "survived"


@app.task(name="cluster.hard_limit", time_limit=1)
def hard_limit() -> None:
    """Run into the hard time limit."""
    time.sleep(30)


@app.task(name="cluster.total")
def total(numbers: list[int]) -> int:
    """Succeed with a sum: the body of a chord."""
    return sum(numbers)


@app.task(name="cluster.die")
def die() -> None:
    """End the process that runs it, and only that, as the kernel does."""
    os.kill(os.getpid(), signal.SIGKILL)


@app.task(name="cluster.progress", bind=True)
def progress(self: Any, steps: int = 3) -> int:
    """Report progress with custom events from the pool process."""
    for step in range(steps):
        self.send_event("task-progress", current=step, total=steps, note=HOSTILE)
    return steps


@app.task(name="cluster.announce", bind=True)
def announce(self: Any) -> None:
    """Send an event of a group nobody has heard of from the pool process."""
    with self.app.events.default_dispatcher() as dispatcher:
        dispatcher.send("billing-invoice-paid", **odd_fields())


@app.task(name="cluster.parent", bind=True)
def parent(self: Any) -> str:
    """Send a child task, which then has a parent_id and a root_id."""
    return str(add.delay(1, 1).id)


def odd_fields() -> dict[str, Any]:
    """Return fields of every type that can be sent, under names that provoke."""
    return {
        "amount": Decimal("19.90"),
        "paid_at": datetime(2026, 2, 28, 23, 59, 59, 999999, tzinfo=UTC),
        "day": date(2026, 2, 28),
        "reference": uuid.UUID(int=7),
        "nested": {"list": [1, [2, {"three": None}]], "": "empty key"},
        "nothing": None,
        "yes": True,
        "text": HOSTILE,
        "ключ": "unicode name",
        "with space": "name with a space",
        "huge": 2**80,
        "tiny": 5e-324,
        "not_a_number": math.nan,
        "infinite": -math.inf,
        "v": 7,
        "ts": "mine",
        "lag": [],
        "joined": "mine too",
        "name": ["not", "a", "string"],
        "uuid": {"not": "a string"},
    }
