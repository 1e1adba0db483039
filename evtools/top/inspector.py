"""The thread that asks the workers, so that no key waits for them."""

import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import Any, Final

from evtools.clock import Clock
from evtools.transport import ConnectionSettings, explain
from evtools.transport.control import ControlChannel, Question

#: How long one look at the replies may take, in seconds: a new question waits for it.
_LOOK: Final = 0.1
#: Answers that wait for the screen; with more, the oldest are forgotten.
_ANSWERS_MAX: Final = 1000


@dataclass(frozen=True, slots=True)
class Inquiry:
    """A question to the workers in `destination`, or to all.

    `deadline` is how long replies are waited for, in seconds, `expected` how many workers are
    to reply, None if that is not known.
    """

    command: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    destination: tuple[str, ...] | None = None
    deadline: float = 2.0
    expected: int | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """Replies that came since the last answer to the same inquiry, by node name.

    `at` is when, in UTC epoch seconds, `replied` how many workers have replied by then and
    `over` whether no more are waited for.  `error` says why the workers could not be asked.
    """

    inquiry: Inquiry
    by_node: Mapping[str, Any]
    at: float
    replied: int = 0
    over: bool = True
    error: str = ""


class Inspector(threading.Thread):
    """Put inquiries to the workers, and have the answers ready, also parts of them.

    One connection serves all, from the first inquiry on; another one is tried when it breaks.
    `wake` is called in this thread when there is something to take.
    """

    def __init__(
        self, settings: ConnectionSettings, wake: Callable[[], None], *, clock: Clock
    ) -> None:
        super().__init__(name="evtools-inspector", daemon=True)
        self._settings = settings
        self._wake = wake
        self._clock = clock
        self._inquiries: SimpleQueue[Inquiry | None] = SimpleQueue()
        self._answers: deque[Answer] = deque(maxlen=_ANSWERS_MAX)
        self._channel: ControlChannel | None = None
        #: The questions that wait for replies, and how many each has given out.
        self._open: list[tuple[Inquiry, Question]] = []

    def ask(self, inquiry: Inquiry) -> None:
        """Have an inquiry put to the workers; return at once."""
        self._inquiries.put(inquiry)
        if self.ident is None:
            self.start()

    def take(self) -> Answer | None:
        """Return the oldest answer that was not taken yet, or None."""
        return self._answers.popleft() if self._answers else None

    def close(self, timeout: float = 2.0) -> None:
        """End the thread; wait at most `timeout` seconds for it."""
        if self.ident is not None:
            self._inquiries.put(None)
            self.join(timeout)

    # --- in the thread ------------------------------------------------------------------

    def run(self) -> None:
        try:
            while True:
                try:
                    # Nothing is looked for while no reply is due.
                    inquiry = self._inquiries.get(block=not self._open)
                except Empty:
                    self._drain()
                    continue
                if inquiry is None:
                    return
                self._put(inquiry)
        finally:
            self._disconnect()

    def _put(self, inquiry: Inquiry) -> None:
        was_connected = self._channel is not None
        try:
            if self._channel is None:
                self._channel = ControlChannel(self._settings)
            question = self._channel.ask(
                inquiry.command,
                inquiry.arguments,
                destination=inquiry.destination,
                deadline=inquiry.deadline,
                expected=inquiry.expected,
            )
        except Exception as error:  # noqa: BLE001  (whatever a driver raises)
            self._fail(error)
            if was_connected:  # it may have been closed while nothing was asked
                self._put(inquiry)
            else:
                self._give_out(inquiry, {}, error=explain(error, self._settings).message)
        else:
            self._open.append((inquiry, question))

    def _drain(self) -> None:
        assert self._channel is not None
        try:
            self._channel.drain(_LOOK)
        except Exception as error:  # noqa: BLE001  (whatever a driver raises)
            self._fail(error)
            return
        left = []
        for inquiry, question in self._open:
            new, over = question.take_new(), not question.left
            if new or over:
                self._give_out(inquiry, new, replied=question.replied, over=over)
            if not over:
                left.append((inquiry, question))
        self._open = left

    def _fail(self, error: Exception) -> None:
        reason = explain(error, self._settings).message
        for inquiry, question in self._open:
            self._give_out(inquiry, {}, replied=question.replied, error=reason)
        self._open = []
        self._disconnect()

    def _give_out(
        self,
        inquiry: Inquiry,
        by_node: Mapping[str, Any],
        *,
        replied: int = 0,
        over: bool = True,
        error: str = "",
    ) -> None:
        self._answers.append(Answer(inquiry, by_node, self._clock.wall(), replied, over, error))
        self._wake()

    def _disconnect(self) -> None:
        channel, self._channel = self._channel, None
        if channel is not None:
            try:
                channel.close()
            except Exception:  # noqa: BLE001  (it is broken already)
                return
