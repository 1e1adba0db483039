"""The thread that sends requests to the cluster and gathers the replies."""

import threading
from collections import Counter, deque
from collections.abc import Callable
from queue import SimpleQueue
from typing import Final

from evtools.clock import Clock
from evtools.errors import UsageError
from evtools.top import audit
from evtools.top.outcome import Outcome, Reply, replies_of
from evtools.top.request import Request
from evtools.transport import ConnectionSettings, call, explain

#: How long to wait for the replies to one command, in seconds.
DEADLINE: Final = 1.0
#: Outcomes that nobody has taken; more are forgotten, oldest first.
_KEPT: Final = 100


class ControlDesk:
    """Carry out requests one after another, in a thread of its own.

    `wake` is called in that thread when an outcome can be taken.  Each
    request leaves one line in the log.  Where the settings say read-only,
    nothing is taken.
    """

    def __init__(
        self,
        settings: ConnectionSettings,
        wake: Callable[[], None],
        *,
        clock: Clock,
        deadline: float = DEADLINE,
    ) -> None:
        self._settings = settings
        self._wake = wake
        self._clock = clock
        self._deadline = deadline
        self._requests: SimpleQueue[Request | None] = SimpleQueue()
        self._outcomes: deque[Outcome] = deque(maxlen=_KEPT)
        self._thread: threading.Thread | None = None
        #: How many requests wait or are being carried out.
        self.waiting = 0
        self._count = threading.Lock()

    def submit(self, request: Request) -> None:
        """Have a request carried out; return at once.

        Raise UsageError in read-only mode.
        """
        if self._settings.read_only:
            raise UsageError(
                f"{request.action.title} is not sent: read-only mode",
                "leave out --read-only (or EVTOOLS_READ_ONLY) to act on the cluster",
            )
        with self._count:
            self.waiting += 1
        self._requests.put(request)
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="evtools-desk", daemon=True)
            self._thread.start()

    def take(self) -> Outcome | None:
        """Return the oldest outcome that nobody has taken, None if there is none."""
        try:
            return self._outcomes.popleft()
        except IndexError:
            return None

    def close(self, timeout: float = 2.0) -> None:
        """Carry out what was asked for, for `timeout` seconds at the most."""
        if self._thread is not None:
            self._requests.put(None)
            self._thread.join(timeout)

    # --- in the thread of the desk ------------------------------------------------

    def _work(self) -> None:
        while (request := self._requests.get()) is not None:
            outcome = self._carry_out(request)
            audit.record(outcome)
            self._outcomes.append(outcome)
            with self._count:
                self.waiting -= 1
            self._wake()

    def _carry_out(self, request: Request) -> Outcome:
        began = self._clock.monotonic()
        replies: list[Reply] = []
        expected: int | None = None
        error = ""
        unread: Counter[str] = Counter()
        try:
            for one in request.calls():
                expected = one.expected
                answered = call(
                    self._settings,
                    one.command,
                    one.arguments,
                    destination=one.destination,
                    deadline=self._deadline,
                    expected=one.expected,
                )
                target = one.arguments.get(request.action.subject, "")
                unread.update(answered.unread)
                replies += replies_of(answered, target if _is_text(target) else "")
        except Exception as exc:  # noqa: BLE001  (explained to the user)
            error = explain(exc, self._settings).message
        seconds = self._clock.monotonic() - began
        return Outcome(request, tuple(replies), expected, seconds, error, unread)


def _is_text(value: object) -> bool:
    return isinstance(value, str)
