"""The tasks of the simulated cluster: which there are, how long they run, how they end."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from random import Random
from typing import Any, Final, TypeAlias

Text: TypeAlias = Callable[[Random], str]

#: How many times a task is retried before it fails.
MAX_RETRIES: Final = 2
_RETRY_AFTER: Final = 4.0


@dataclass(frozen=True, slots=True)
class End:
    """How a share (0 to 1) of the tasks end: the event, and what they raise."""

    share: float
    event: str
    exception: Text | None = None
    requeue: bool = False


@dataclass(frozen=True, slots=True)
class Kind:
    """A task type; times are in seconds.

    `runtime` is the mean, `weight` how often clients send it, `args` its arguments.  Tasks
    that do not end by one of `ends` succeed.  They report their `progress` this many times,
    send tasks of the types `children`, wait `countdown` at first and are dropped after
    `expires`; a share `revoked` is revoked.
    """

    name: str
    queue: str
    runtime: float
    weight: float
    args: Text
    ends: tuple[End, ...] = ()
    result: str = "None"
    progress: int = 0
    children: tuple[str, ...] = ()
    countdown: float = 0.0
    expires: float = 0.0
    revoked: float = 0.0


def _mail(rng: Random) -> str:
    return rng.choice(
        (
            f"('user{rng.randint(1, 99)}@example.org', 'Your order')",
            "('田中@example.jp', 'ご注文ありがとうございます 🎉')",
            "('김민준@example.kr', '주문 확인 📦')",
        )
    )


def _declined(rng: Random) -> str:
    return f"CardError('card {rng.randint(1000, 9999)} declined')"


def _gateway(rng: Random) -> str:
    host, seconds = rng.randint(2, 9), rng.uniform(30, 31)
    return f"GatewayTimeout('no answer from 10.0.0.{host}:8443 after {seconds:.1f}s')"


def _smtp(rng: Random) -> str:
    reason = f"Connection unexpectedly closed: timed out after {rng.randint(5, 30)} seconds"
    return f"SMTPServerDisconnected('{reason}')"


def _deadlock(rng: Random) -> str:
    process = rng.randint(1000, 9999)
    return f"OperationalError('deadlock detected: process {process} waits for table stock')"


# fmt: off
KINDS: Final = (
    Kind("shop.web.checkout", "celery", 0.06, 5, lambda rng: f"({rng.randint(1, 500)},)",
         (End(0.01, "failed", lambda _: "KeyError('basket')"),), result="'confirmed'"),
    Kind("shop.billing.charge", "billing", 0.9, 3,
         lambda rng: f"({rng.randint(1000, 9999)}, 'EUR')",
         (End(0.09, "failed", _declined), End(0.03, "failed", _gateway))),
    Kind("shop.mail.send", "mail", 0.2, 4, _mail, (End(0.3, "retried", _smtp),)),
    Kind("shop.images.thumbnail", "images", 2.0, 2,
         lambda rng: f"('img-{rng.randint(1, 9999):04}.jpg', 256)",
         (End(0.04, "failed", lambda _: "MemoryError()"),), result="(256, 192)", progress=3),
    Kind("shop.stock.sync", "celery", 0.4, 1.5, lambda rng: f"('warehouse-{rng.randint(1, 3)}',)",
         (End(0.1, "rejected", requeue=True), End(0.05, "rejected"),
          End(0.05, "failed", _deadlock))),
    Kind("shop.reports.build", "reports", 12.0, 0.5,
         lambda rng: f"('2026-{rng.randint(1, 12):02}',)",
         result="'report.pdf'", progress=9, expires=20.0, revoked=0.25),
    Kind("shop.offers.remind", "mail", 0.1, 0.5, lambda rng: f"({rng.randint(1, 500)},)",
         countdown=15.0, revoked=0.3),
    Kind("shop.orders.fulfil", "celery", 0.6, 0.5, lambda rng: f"({rng.randint(1000, 9999)},)",
         children=("shop.orders.pack",) * 3),
    Kind("shop.orders.pack", "orders", 0.8, 0.0, lambda rng: f"('item-{rng.randint(1, 99)}',)",
         children=("shop.orders.label",)),
    Kind("shop.orders.label", "orders", 0.3, 0.0, lambda rng: f"({rng.randint(100000, 999999)},)",
         (End(0.05, "failed", lambda _: "PrinterError('out of paper')"),)),
)
# fmt: on
BY_NAME: Final = {kind.name: kind for kind in KINDS}
QUEUES: Final = tuple(dict.fromkeys(kind.queue for kind in KINDS))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DemoTask:
    """One delivery of a task; `eta` and `expires` are UTC epoch seconds."""

    uuid: str
    kind: Kind
    args: str
    parent: "DemoTask | None" = None
    root_id: str = ""
    retries: int = 0
    eta: float | None = None
    expires: float | None = None

    def fields(self) -> dict[str, Any]:
        """Return what both client and worker report of it."""
        return {
            "uuid": self.uuid,
            "name": self.kind.name,
            "args": self.args,
            "kwargs": "{}",
            "retries": self.retries,
            "eta": _iso(self.eta),
            "expires": _iso(self.expires),
            "root_id": self.root_id or self.uuid,
            "parent_id": self.parent and self.parent.uuid,
        }

    def redelivery(self) -> "DemoTask":
        return replace(self)

    def retry(self, now: float) -> "DemoTask":
        return replace(self, retries=self.retries + 1, eta=now + _RETRY_AFTER)


def make_task(rng: Random, kind: Kind, now: float, parent: DemoTask | None = None) -> DemoTask:
    """Make a task of a type, sent by a client or by its parent at `now`."""
    digits = f"{rng.getrandbits(128):032x}"
    return DemoTask(
        uuid="-".join((digits[:8], digits[8:12], f"4{digits[13:16]}", digits[16:20], digits[20:])),
        kind=kind,
        args=kind.args(rng),
        parent=parent,
        root_id=(parent.root_id or parent.uuid) if parent else "",
        eta=now + kind.countdown if kind.countdown else None,
        expires=now + kind.expires if kind.expires else None,
    )


def end_of(rng: Random, kind: Kind) -> End | None:
    """Choose how a task ends; None if it succeeds."""
    left = rng.random()
    for end in kind.ends:
        left -= end.share
        if left < 0:
            return end
    return None


def traceback(kind: Kind, exception: str) -> str:
    module, _, function = kind.name.rpartition(".")
    name, _, message = exception.removesuffix(")").partition("(")
    return (
        "Traceback (most recent call last):\n"
        f'  File "/srv/{module.replace(".", "/")}.py", line 88, in {function}\n'
        f"    raise {exception}\n"
        f"{name}{message and ': '}{message}\n"
    )


def _iso(moment: float | None) -> str | None:
    return None if moment is None else datetime.fromtimestamp(moment, UTC).isoformat()
