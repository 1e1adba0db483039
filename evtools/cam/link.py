"""The connection, as its notices tell of it: in the log, the counters, the frames."""

import logging

from evtools.cam.counters import Counters
from evtools.cam.roll import Roll
from evtools.clock import Clock
from evtools.transport import Notice

_log = logging.getLogger(__name__)


class Link:
    """Take in what a source tells of its connection.

    `why` is why there is none, as far as we heard.
    """

    def __init__(self, counters: Counters, roll: Roll, clock: Clock) -> None:
        self._counters = counters
        self._roll = roll
        self._clock = clock
        #: The error that retries are made because of, and how many so far.
        self._retries = 0
        self.why = "no connection"

    def hear(self, notice: Notice) -> None:
        """Take in a notice; of many retries in a row log the 1st, 2nd, 4th, ..."""
        if notice.kind in {"listening", "restored"}:
            self._counters.connected = True
            self._roll.subscribed(self._clock.wall())
            self._retries, self.why = 0, "no connection"
            words = "listening on" if notice.kind == "listening" else "connected again:"
            _log.info("%s %s", words, notice.text)
        elif notice.kind == "lost":
            self._counters.connected = False
            self._roll.lost()
            self.why = notice.text
            _log.warning("connection lost: %s", notice.text)
        elif notice.kind == "ended" and notice.text:
            _log.warning("%s", notice.text)
        elif notice.kind == "retry":
            self._retry(notice.text)

    def _retry(self, text: str) -> None:
        error = text.rpartition("; trying again")[0] or text
        self._retries = self._retries + 1 if error == self.why else 1
        self.why = error
        if self._retries & (self._retries - 1) == 0:
            _log.warning("%s", text)
