"""What `--listen` serves: whether evcam is alive and sees the cluster, its counters, metrics."""

import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields
from typing import Any, Final, Self

from evtools.cam.http import Address, HTTPServer, Request, Response
from evtools.cam.metrics import Family, own_families, scrape
from evtools.cam.schedule import Counters
from evtools.clock import Clock
from evtools.errors import EvtoolsError
from evtools.state import Worker
from evtools.text import hide_credentials, human_duration
from evtools.transport import ConnectionSettings, Statistics, probe
from evtools.wire import encode_line

#: The main loop moves several times a second; after this many seconds it hangs.
STUCK: Final = 15.0
#: This many missing heartbeats say nothing.
_BEATS: Final = 3.0
#: Seconds between heartbeats: Celery's default, and the most that a worker can claim.
_BEAT, _BEAT_MAX = 2.0, 60.0
#: Seconds from the end of one login to the next.
PROBE_EVERY: Final = 2.0
#: Seconds that an answer waits for a login under way, or the end of evcam for an answer.
_PATIENCE: Final = 30.0


class Health:
    """Serve `/livez`, `/readyz`, `/status` and `/metrics` within its context.

    `settings` are those of the broker to log in to, None if there is none.  The metrics of
    a `camera` that has any are served, too.  Raise UsageError for a bad address and
    OutputError for one that cannot be bound.
    """

    def __init__(
        self,
        address: str,
        *,
        counters: Counters,
        statistics: Callable[[], Statistics],
        workers: Mapping[str, Worker],
        settings: ConnectionSettings | None,
        camera: Any,
        clock: Clock,
    ) -> None:
        self._counters = counters
        self._statistics = statistics
        self._workers = workers
        self._settings = settings
        self._camera = camera if adopt(camera) else None
        self._clock = clock
        self._probing = threading.Lock()
        #: By the monotonic clock: the begin of the last login that worked, the end of any.
        self._let_in_at = self._probed_at = -float("inf")
        self._refusal = ""
        routes = {
            "/livez": self._livez,
            "/readyz": self._readyz,
            "/status": self._status,
            "/metrics": scrape(self._families),
        }
        self._server = HTTPServer(Address.of(address), routes)

    @property
    def address(self) -> Address:
        return self._server.address

    def __enter__(self) -> Self:
        self._server.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._server.close()

    # --- answers ----------------------------------------------------------------------

    def _livez(self, _: Request) -> Response:
        return _verdict("alive", self._is_alive())

    def _readyz(self, _: Request) -> Response:
        return _verdict("ready", self._is_ready(probe=True))

    def _status(self, _: Request) -> Response:
        ready, reason = self._is_ready(probe=False)
        statistics = self._statistics()
        counters = {
            **_fields(self._counters),
            "shots": _fields(self._counters.shots),
            # A copy in one step, for it grows in another thread.
            "events_by_type": dict(self._counters.events_by_type),
        }
        # Samples of malformed messages are for the log, where they are redacted.
        defects = [{"kind": each.kind, "count": each.count} for each in statistics.defects]
        stream = {**_fields(statistics), "defects": defects}
        values = {"alive": self._is_alive()[0], "ready": ready, "reason": reason}
        return _json(200, {**values, "counters": counters, "stream": stream})

    def _families(self) -> Iterator[Family]:
        yield from own_families(self._counters, self._statistics())
        if self._camera is not None:
            yield from self._camera.families()

    # --- verdicts ---------------------------------------------------------------------

    def _is_alive(self) -> tuple[bool, str]:
        still = self._clock.monotonic() - self._counters.ticked_at
        if still > STUCK:
            return False, f"the main loop has not moved for {human_duration(still)}"
        return True, "the main loop moves"

    def _is_ready(self, *, probe: bool) -> tuple[bool, str]:
        """Return whether events come, or would, and why; try the broker with `probe`."""
        if not self._statistics().connected:
            return False, "there is no connection"
        limit = _BEATS * self._beat()
        beat_at = self._counters.last_heartbeat_at
        age = None if beat_at is None else self._clock.wall() - beat_at
        if age is not None and age <= limit:
            return True, f"a worker's heartbeat came {human_duration(max(0.0, age))} ago"
        silence = "no heartbeat" if age is None else "no heartbeat lately"
        if self._settings is None:
            return True, f"{silence}, and no broker to try"
        if probe and not self._was_let_in(limit):
            self._probe(self._settings)
        if self._was_let_in(limit):
            return True, f"{silence}, but the broker accepts logins"
        return False, f"{silence}: {self._refusal or 'the broker was not tried'}"

    def _beat(self) -> float:
        """Return the longest seconds between two heartbeats of a worker."""
        workers = list(self._workers.values())
        return max([_BEAT, *(min(each.freq, _BEAT_MAX) for each in workers if each.beats)])

    def _was_let_in(self, limit: float) -> bool:
        return self._clock.monotonic() - self._let_in_at <= limit

    def _probe(self, settings: ConnectionSettings) -> None:
        """Log in to the broker, unless that was tried just now; wait for a login under way."""
        if not self._probing.acquire(timeout=_PATIENCE):
            return
        try:
            began = self._clock.monotonic()
            if began - self._probed_at < PROBE_EVERY:
                return
            try:
                probe(settings)
            except Exception as error:  # noqa: BLE001  (part of the answer)
                ours = isinstance(error, EvtoolsError)
                self._refusal = str(error) if ours else f"{type(error).__name__}: {error}"
            else:
                self._let_in_at, self._refusal = began, ""
            self._probed_at = self._clock.monotonic()
        finally:
            self._probing.release()


def adopt(camera: Any) -> bool:
    """Return whether a camera has metrics, which then need no other place."""
    if not callable(getattr(camera, "families", None)):
        return False
    camera.is_served = True
    return True


def _verdict(name: str, verdict: tuple[bool, str]) -> Response:
    is_good, reason = verdict
    return _json(200 if is_good else 503, {name: is_good, "reason": reason})


def _json(status: int, values: Mapping[str, Any]) -> Response:
    return Response(status, encode_line(_shown(values)) + b"\n", "application/json")


def _fields(counted: Any) -> dict[str, Any]:
    return {field.name: getattr(counted, field.name) for field in fields(counted)}


def _shown(value: Any) -> Any:
    """Hide passwords in texts, which may quote the exception of a camera."""
    match value:
        case str():
            return hide_credentials(value)
        case dict():
            return {name: _shown(each) for name, each in value.items()}
        case list():
            return [_shown(each) for each in value]
        case _:
            return value
