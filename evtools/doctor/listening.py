"""Listening to a cluster for a while, and asking its workers."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from evtools.clock import Clock
from evtools.doctor.observation import Observation
from evtools.errors import EvtoolsError
from evtools.transport import ConnectionSettings, EventReceiver, Notice, call, explain

#: Events are looked at this often, in seconds.
_TICK: Final = 0.25
#: How long workers may take to answer, in seconds: a solo pool is slow.
_ANSWER: Final = 2.0
#: So many are asked for their settings; they are rarely different.
_ASKED_MAX: Final = 50


def listen(
    settings: ConnectionSettings, wait: float, clock: Clock, *, asks: bool = True
) -> Observation:
    """Listen for `wait` seconds from when we are subscribed.

    With `asks`, workers are asked meanwhile.  Without it, nothing is published,
    and the exchange for questions is not made where it is missing.
    """
    seen = Observation()
    patience = _Patience(wait, clock, asks=asks)
    heard = EventReceiver(
        replace(
            settings,
            reconnect=False,
            routing_keys=("#",),
            enable_events=False,
            wakeup=settings.wakeup and asks,
        ),
        on_notice=(link := _Link()).hear,
        clock=clock,
    )
    with heard as receiver:
        try:
            _follow(receiver, link, seen, patience)
        except EvtoolsError as error:
            seen.failure = error
        defects = receiver.statistics().defects
    seen.defects = tuple((defect.kind, defect.count) for defect in defects)
    return seen


class _Link:
    """Whether we are subscribed."""

    def __init__(self) -> None:
        self.live = False

    def hear(self, notice: Notice) -> None:
        """Take in what the receiver tells."""
        self.live = self.live or notice.kind == "listening"


class _Patience:
    """How long it is since we are subscribed, and whether that is enough."""

    def __init__(self, wait: float, clock: Clock, *, asks: bool) -> None:
        self.asks = asks
        self._wait = wait
        self._clock = clock
        self._since: float | None = None

    def begin(self) -> bool:
        """Return whether this is the first time."""
        first = self._since is None
        if first:
            self._since = self._clock.monotonic()
        return first

    @property
    def answer(self) -> float:
        """How long to wait for an answer: who is in a hurry is so there, too."""
        return min(self._wait, _ANSWER)

    @property
    def seconds(self) -> float:
        return 0.0 if self._since is None else self._clock.monotonic() - self._since

    @property
    def is_over(self) -> bool:
        return self._since is not None and self.seconds >= self._wait


def _follow(receiver: EventReceiver, link: _Link, seen: Observation, patience: _Patience) -> None:
    for events in receiver.batches(_TICK):
        seen.take(events)
        if link.live and patience.begin() and patience.asks:
            # Meanwhile the reader thread goes on to collect events.
            ask(receiver.settings, seen, patience.answer)
        seen.seconds = patience.seconds
        if patience.is_over:
            return


def ask(settings: ConnectionSettings, seen: Observation, deadline: float = _ANSWER) -> None:
    """Ask who is there, and for the settings that are not Celery's own.

    Each answer may take `deadline` seconds.
    """
    if settings.read_only:
        return
    try:
        answered = call(settings, "ping", deadline=deadline)
        pongs = answered.by_node
        seen.pongs = frozenset(pongs)
        seen.unread.update(answered.unread)
        if pongs:
            asked = sorted(pongs)[:_ASKED_MAX]
            told = call(settings, "conf", destination=asked, deadline=deadline)
            seen.unread.update(told.unread)
            seen.settings = {
                node: reply for node, reply in told.by_node.items() if isinstance(reply, Mapping)
            }
    except Exception as exc:  # noqa: BLE001  (whatever the drivers raise)
        seen.refusal = explain(exc, settings)
