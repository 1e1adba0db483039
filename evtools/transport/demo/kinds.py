"""The task types of the simulated cluster: how long they run and how they end."""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Final, TypeAlias

Text: TypeAlias = Callable[[Random], str]


@dataclass(frozen=True, slots=True)
class End:
    """How a share (0 to 1) of the tasks end: the event, and what they raise."""

    share: float
    event: str
    exception: Text | None = None
    requeue: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A task type.

    `runtime` is the mean in seconds, `weight` how often clients send it.
    Tasks that do not end by one of `ends` succeed.  They report their
    `progress` so many times, send tasks of the types `children`, are to wait
    `countdown` seconds at first and to be dropped after `expires` seconds; a
    share `revoked` is called off.
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


KINDS: Final = (
    Kind(
        name="shop.web.checkout",
        queue="celery",
        runtime=0.06,
        weight=5,
        args=lambda rng: f"({rng.randint(1, 500)},)",
        result="'confirmed'",
        ends=(End(0.01, "failed", lambda _: "KeyError('basket')"),),
    ),
    Kind(
        name="shop.billing.charge",
        queue="billing",
        runtime=0.9,
        weight=3,
        args=lambda rng: f"({rng.randint(1000, 9999)}, 'EUR')",
        ends=(
            End(
                *(0.09, "failed"),
                lambda rng: f"CardError('card {rng.randint(1000, 9999)} declined')",
            ),
            End(
                *(0.03, "failed"),
                lambda rng: (
                    f"GatewayTimeout('no answer from 10.0.0.{rng.randint(2, 9)}"
                    f":8443 after {rng.uniform(30, 31):.1f}s')"
                ),
            ),
        ),
    ),
    Kind(
        name="shop.mail.send",
        queue="mail",
        runtime=0.2,
        weight=4,
        args=lambda rng: rng.choice(
            (
                f"('user{rng.randint(1, 99)}@example.org', 'Your order')",
                "('田中@example.jp', 'ご注文ありがとうございます 🎉')",
                "('김민준@example.kr', '주문 확인 📦')",
            )
        ),
        ends=(
            End(
                *(0.3, "retried"),
                lambda rng: (
                    "SMTPServerDisconnected('Connection unexpectedly closed: "
                    f"timed out after {rng.randint(5, 30)} seconds')"
                ),
            ),
        ),
    ),
    Kind(
        name="shop.images.thumbnail",
        queue="images",
        runtime=2.0,
        weight=2,
        args=lambda rng: f"('img-{rng.randint(1, 9999):04}.jpg', 256)",
        result="(256, 192)",
        progress=3,
        ends=(End(0.04, "failed", lambda _: "MemoryError()"),),
    ),
    Kind(
        name="shop.stock.sync",
        queue="celery",
        runtime=0.4,
        weight=1.5,
        args=lambda rng: f"('warehouse-{rng.randint(1, 3)}',)",
        ends=(
            End(0.1, "rejected", requeue=True),
            End(0.05, "rejected"),
            End(
                *(0.05, "failed"),
                lambda rng: (
                    "OperationalError('deadlock detected: process "
                    f"{rng.randint(1000, 9999)} waits for table stock')"
                ),
            ),
        ),
    ),
    Kind(
        name="shop.reports.build",
        queue="reports",
        runtime=12.0,
        weight=0.5,
        args=lambda rng: f"('2026-{rng.randint(1, 12):02}',)",
        result="'report.pdf'",
        progress=9,
        expires=20.0,
        revoked=0.25,
    ),
    Kind(
        name="shop.offers.remind",
        queue="mail",
        runtime=0.1,
        weight=0.5,
        args=lambda rng: f"({rng.randint(1, 500)},)",
        countdown=15.0,
        revoked=0.3,
    ),
    Kind(
        name="shop.orders.fulfil",
        queue="celery",
        runtime=0.6,
        weight=0.5,
        args=lambda rng: f"({rng.randint(1000, 9999)},)",
        children=("shop.orders.pack",) * 3,
    ),
    Kind(
        name="shop.orders.pack",
        queue="orders",
        runtime=0.8,
        weight=0.0,
        args=lambda rng: f"('item-{rng.randint(1, 99)}',)",
        children=("shop.orders.label",),
    ),
    Kind(
        name="shop.orders.label",
        queue="orders",
        runtime=0.3,
        weight=0.0,
        args=lambda rng: f"({rng.randint(100000, 999999)},)",
        ends=(End(0.05, "failed", lambda _: "PrinterError('out of paper')"),),
    ),
)
BY_NAME: Final = {kind.name: kind for kind in KINDS}
QUEUES: Final = tuple(dict.fromkeys(kind.queue for kind in KINDS))
