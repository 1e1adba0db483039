"""Whether evcam is alive, and whether it sees the cluster."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Final

from evtools.cam.counters import Counters
from evtools.cam.http import Request, Response
from evtools.cam.probe import Probe
from evtools.clock import Clock
from evtools.state import Worker
from evtools.text import hide_credentials, human_duration
from evtools.transport import Statistics
from evtools.wire import Defect, encode_line

#: The main loop moves several times a second; seconds after which it hangs.
STUCK: Final = 15.0
#: As many heartbeats may be missing as say nothing.
_BEATS: Final = 3.0
#: Seconds between heartbeats: Celery's, and the most that anybody may tell us.
_BEAT, _BEAT_MAX = 2.0, 60.0

#: Of what could not be read.
_OF_DEFECTS: Final = frozenset({"kind", "count"})

_OK, _UNAVAILABLE = 200, 503
_JSON: Final = "application/json"


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether something is as it should be, and why, in a few words."""

    is_good: bool
    reason: str


class Health:
    """Answer those who ask how evcam is.

    `statistics` are those of the source, `workers` those of the state.
    `probe` tries whether the broker can be reached; None if there is none.
    """

    def __init__(
        self,
        counters: Counters,
        statistics: Callable[[], Statistics],
        workers: Mapping[str, Worker],
        probe: Probe | None,
        clock: Clock,
    ) -> None:
        self._counters = counters
        self._statistics = statistics
        self._workers = workers
        self._probe = probe
        self._clock = clock

    # --- answers -----------------------------------------------------------------

    def livez(self, _: Request) -> Response:
        """Answer whether the main loop moves."""
        return _response("alive", self.life())

    def readyz(self, _: Request) -> Response | None:
        """Answer whether events come, or would; None while that is being tried."""
        verdict = self.sight()
        return None if verdict is None else _response("ready", verdict)

    def status(self, _: Request) -> Response:
        """Answer with all that evcam counts."""
        life, sight = self.life(), self.sight(probe=False)
        return _json(
            _OK,
            {
                "alive": life.is_good,
                "ready": sight is not None and sight.is_good,
                "reason": "" if sight is None else sight.reason,
                "counters": _values(self._counters),
                "stream": _values(self._statistics()),
            },
        )

    # --- verdicts ----------------------------------------------------------------

    def life(self) -> Verdict:
        """Return whether the main loop moves."""
        still = self._clock.monotonic() - self._counters.ticked_at
        if still > STUCK:
            return Verdict(
                is_good=False, reason=f"the main loop has not moved for {human_duration(still)}"
            )
        return Verdict(is_good=True, reason="the main loop moves")

    def sight(self, *, probe: bool = True) -> Verdict | None:
        """Return whether we would see what happens.

        None while the broker is being tried, which `probe` allows.
        """
        if not self._statistics().connected:
            return Verdict(is_good=False, reason="there is no connection")
        limit = _BEATS * self._beat()
        heard = self._counters.last_heartbeat_at
        age = None if heard is None else self._clock.wall() - heard
        if age is not None and age <= limit:
            reason = f"a worker's heartbeat came {human_duration(max(0.0, age))} ago"
            return Verdict(is_good=True, reason=reason)
        silence = "no heartbeat" if age is None else "no heartbeat lately"
        if self._probe is None:
            return Verdict(is_good=True, reason=f"{silence}, and no broker to try")
        return self._tried(self._probe, silence, limit, probe=probe)

    def _tried(self, attempts: Probe, silence: str, limit: float, *, probe: bool) -> Verdict | None:
        tried = attempts.succeeded_at
        if tried is not None and self._clock.monotonic() - tried <= limit:
            reason = f"{silence}, but the broker lets us in"
            return Verdict(is_good=True, reason=reason)
        if probe and attempts.start():
            return None
        why = attempts.error or "the broker was not tried"
        return Verdict(is_good=False, reason=f"{silence}: {why}")

    def _beat(self) -> float:
        """Return how many seconds pass between two heartbeats of a worker."""
        workers = list(self._workers.values())
        beats = [min(worker.freq, _BEAT_MAX) for worker in workers if worker.beats]
        return max([_BEAT, *beats])


def _response(name: str, verdict: Verdict) -> Response:
    status = _OK if verdict.is_good else _UNAVAILABLE
    return _json(status, {name: verdict.is_good, "reason": verdict.reason})


def _json(status: int, values: Mapping[str, Any]) -> Response:
    return Response(status, encode_line(_shown(values)) + b"\n", _JSON)


def _shown(value: Any) -> Any:
    """Return values for others to see: texts may quote what a camera raised."""
    match value:
        case str():
            return hide_credentials(value)
        case Mapping():
            return {name: _shown(each) for name, each in value.items()}
        case list():
            return [_shown(each) for each in value]
        case _:
            return value


def _values(counted: Any) -> dict[str, Any]:
    """Return the fields of a dataclass as JSON can have them."""
    values = {}
    for field in fields(counted):
        if isinstance(counted, Defect) and field.name not in _OF_DEFECTS:
            # What somebody sent is for the log, where it is redacted.
            continue
        value = getattr(counted, field.name)
        match value:
            case dict():
                # In one step, for it grows in another thread.
                value = dict(value)
            case tuple():
                value = [_values(each) for each in value]
            case _ if hasattr(value, "__dataclass_fields__"):
                value = _values(value)
        values[field.name] = value
    return values
