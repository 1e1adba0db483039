"""What evcam tells of itself: its status, its counters, what was ill-formed."""

import json
import logging
from dataclasses import asdict

from evtools.cam.counters import Counters
from evtools.cam.link import Link
from evtools.cam.stacks import stacks
from evtools.clock import Clock
from evtools.text import human_duration, sanitize
from evtools.transport import Source
from evtools.transport.live import SilenceHint

_log = logging.getLogger(__name__)


class News:
    """Put what is known of a running evcam into words.

    `replays` says that the source is a recording, `redacts` that nothing is logged of
    what could not be read.
    """

    def __init__(
        self,
        counters: Counters,
        source: Source,
        link: Link,
        clock: Clock,
        *,
        replays: bool,
        redacts: bool,
    ) -> None:
        self._counters = counters
        self._source = source
        self._link = link
        self._clock = clock
        self._replays = replays
        self._redacts = redacts
        self._doubt = SilenceHint(source, clock)
        self._told: set[str] = set()

    def status(self) -> str:
        """Say in one line how it goes."""
        counters = self._counters
        if not counters.connected and not self._replays:
            return f"waiting for broker: {self._link.why}"
        shot = "no shot yet"
        if counters.last_success_at is not None:
            ago = self._clock.wall() - counters.last_success_at
            shot = f"last shot {human_duration(ago)} ago"
        return (
            f"{'replaying' if self._replays else 'connected'}, "
            f"{counters.events_per_second:.0f} ev/s, "
            f"{counters.workers_alive} workers, {shot}, "
            f"{counters.failures_in_row} failures"
        )

    def dump(self) -> None:
        """Log all counters, and where every thread is."""
        statistics = asdict(self._source.statistics())
        defects = statistics.pop("defects")
        malformed = {defect["kind"]: defect["count"] for defect in defects}
        told = {**statistics, **asdict(self._counters), "malformed": malformed}
        _log.warning("counters: %s", json.dumps(told))
        _log.warning("stacks:\n%s", stacks())

    def tell_doubt(self) -> None:
        """Log where to look if nothing comes at all; once."""
        words = "" if self._replays else self._doubt.words()
        if words:
            _log.warning("%s", words)

    def tell_defects(self) -> None:
        """Log each kind of ill-formed input once."""
        for defect in self._source.statistics().defects:
            if defect.kind not in self._told:
                self._told.add(defect.kind)
                words = sanitize(defect.words(redacted=self._redacts))
                _log.warning("left out: %s", words)
        if self._counters.nameless and "" not in self._told:
            self._told.add("")
            _log.warning("events came without the uuid or hostname they are about")
