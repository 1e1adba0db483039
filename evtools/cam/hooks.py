"""What is run or requested when an alert fires or resolves, each in a thread of its own."""

import base64
import logging
import os
import shlex
import shutil
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

from evtools import __version__
from evtools.alerts import Rule, is_http, masked_webhook
from evtools.cam.http_client import HTTPClient, Unreachable, headers_of, one_line, retry_after
from evtools.clock import Clock
from evtools.errors import EvtoolsError, UsageError
from evtools.signals import how_ended, run_program
from evtools.text import human_duration, sanitize

_log = logging.getLogger(__name__)

#: How many notices wait for a hook; beyond that the oldest is dropped.
WAITING_MAX: Final = 250
#: How long is waited after each try that failed, in seconds; there is one try more.
WAITS: Final = (1.0, 5.0, 25.0)
#: The longest that a server can have us wait, in seconds.
_ASKED_MAX: Final = 300.0
#: How much of the output of a program is logged, and how much of an answer is read, in bytes.
_OUTPUT_BYTES: Final = 4096
_ANSWER_BYTES: Final = 16_384
_URL_BYTES: Final = 16_384
#: Variables of our own with systemd.
_NOT_FOR_OTHERS: Final = (
    "NOTIFY_SOCKET",
    "WATCHDOG_USEC",
    "WATCHDOG_PID",
    "LISTEN_PID",
    "LISTEN_FDS",
)
#: Statuses after which the same request may succeed, besides those of 500 and above.
_AGAIN: Final = (408, 429)


@dataclass(frozen=True, slots=True)
class Notice:
    """What an alert has to say: its `state`, fired or resolved, and all of it as JSON, `body`."""

    alert: str
    state: str
    body: bytes


class NotDelivered(Exception):
    """A notice was not delivered; `again` after `wait` seconds it may be."""

    def __init__(self, why: str, *, again: bool = True, wait: float = 0.0) -> None:
        super().__init__(why)
        self.again, self.wait = again, wait


class Sender(Protocol):
    """Delivers notices: `shown` is where, fit to be shown and without secrets."""

    shown: str

    def send(self, notice: Notice, given_up: Callable[[], bool]) -> None: ...
    def check(self) -> None: ...


class Program:
    """A program of the user, which has the notice on its stdin; nothing of it is an argument."""

    def __init__(self, words: tuple[str, ...], timeout: float) -> None:
        self._words, self._timeout = words, timeout
        self.shown = one_line(shlex.join(words))

    def send(self, notice: Notice, given_up: Callable[[], bool]) -> None:
        """Run it; raise NotDelivered if it fails, takes too long, or cannot be run."""
        environment = {
            **{name: value for name, value in os.environ.items() if name not in _NOT_FOR_OTHERS},
            "EVTOOLS_ALERT": notice.alert,
            "EVTOOLS_STATE": notice.state,
        }
        output = bytearray()
        try:
            status = run_program(
                self._words, seconds=self._timeout, given_up=given_up, stdin=notice.body + b"\n",
                output=output, output_max_bytes=_OUTPUT_BYTES, environment=environment,
            )  # fmt: skip
        except (OSError, ValueError) as error:
            raise NotDelivered(f"cannot run it: {_reason(error)}", again=False) from None
        said = one_line(bytes(output)) if output else ""
        if status is None:
            limit = "evcam ends" if given_up() else f"it took {human_duration(self._timeout)}"
            raise NotDelivered(f"killed, as {limit}{said and f': {said}'}")
        if status:
            raise NotDelivered(f"{how_ended(status)}{said and f': {said}'}")

    def check(self) -> None:
        """Raise UsageError if there is no such program."""
        if shutil.which(self._words[0]) is None:
            raise UsageError(f"cannot run {sanitize(self._words[0])}: there is no such program")


class Webhook:
    """A URL, or a file with one, to which the notice is sent by POST; redirects are refused."""

    def __init__(self, url: str, headers: str, timeout: float, clock: Clock) -> None:
        self._place, self._headers, self._timeout = url, headers, timeout
        self._clock = clock
        self.shown = masked_webhook(url)

    def send(self, notice: Notice, given_up: Callable[[], bool]) -> None:  # noqa: ARG002
        """Send it; raise NotDelivered unless it is accepted."""
        try:
            client, path, headers = self._open()
        except EvtoolsError as error:
            raise NotDelivered(error.message) from None
        try:
            answer = client.request(
                "POST", path, notice.body, headers, answer_max_bytes=_ANSWER_BYTES
            )
        except Unreachable as error:
            raise NotDelivered(error.message) from None
        finally:
            # Until the next one it may be dead.
            client.close()
        status = answer.status
        if 200 <= status < 300:  # noqa: PLR2004
            return
        words = f"{status} {one_line(answer.reason)}".strip()
        if 300 <= status < 400:  # noqa: PLR2004
            why = f"it answers {words}, and redirects are not followed: give its final URL"
            raise NotDelivered(why, again=False)
        said = one_line(answer.body)
        wait = min(retry_after(answer, self._clock.wall()), _ASKED_MAX)
        again = status in _AGAIN or status >= 500  # noqa: PLR2004
        raise NotDelivered(f"it answers {words}{said and f': {said}'}", again=again, wait=wait)

    def check(self) -> None:
        """Raise UsageError if the files of URL or headers cannot be used."""
        self._open()

    def _open(self) -> tuple[HTTPClient, str, dict[str, str]]:
        # Files are read each time: what is in them may have changed.
        url = self._place
        if url.startswith("@"):
            name = sanitize(url[1:])
            try:
                with Path(url[1:]).expanduser().open("rb") as file:
                    url = file.read(_URL_BYTES).decode().strip()
            except (OSError, ValueError) as error:
                raise UsageError(f"webhook: cannot read {name}: {_reason(error)}") from None
            if not is_http(url):
                raise UsageError(f"webhook: in {name} is no URL of HTTP")
        parts = urlsplit(url)
        client = HTTPClient(f"{parts.scheme}://{parts.netloc}", timeout=self._timeout)
        headers = {"Content-Type": "application/json", "User-Agent": f"evtools/{__version__}"}
        if client.user or client.password:
            basic = base64.b64encode(f"{client.user}:{client.password}".encode()).decode()
            headers["Authorization"] = f"Basic {basic}"
        headers |= headers_of(self._headers)
        return client, f"{parts.path or '/'}{parts.query and f'?{parts.query}'}", headers


def senders_of(rule: Rule, clock: Clock) -> list[Sender]:
    """Return what delivers the notices of an alert."""
    return [
        *(Program(words, rule.timeout) for words in rule.run),
        *(Webhook(url, rule.headers, rule.timeout, clock) for url in rule.webhook),
    ]


class Hook:
    """Deliver the notices of an alert to one place, one after the other, in a thread of its own.

    Of more than `waiting_max` that wait, the oldest are dropped.  What fails is tried again, after
    each of `WAITS` or what the other side asks for.
    """

    def __init__(self, rule: Rule, sender: Sender, waiting_max: int | None = WAITING_MAX) -> None:
        self.alert, self.sender, self._waiting_max = rule.name, sender, waiting_max
        self.delivered = self.failed = self.retried = self.dropped = 0
        self.last_error = ""
        self._what = f"alert {rule.name}: {sender.shown}"
        self._waiting: deque[Notice] = deque()
        self._changed = threading.Condition()
        self._busy = self._ending = self._given_up = False
        self._failures = 0
        self._thread: threading.Thread | None = None

    @property
    def waiting(self) -> int:
        """How many notices wait or are being delivered."""
        return len(self._waiting) + self._busy

    def wait_for_room(self, timeout: float) -> bool:
        """Wait for `timeout` seconds at most until half of the room is free; return whether."""
        with self._changed:
            return self._changed.wait_for(lambda: len(self._waiting) < WAITING_MAX / 2, timeout)

    def put(self, notice: Notice) -> None:
        """Have a notice delivered; never wait."""
        with self._changed:
            if self._waiting_max is not None and len(self._waiting) >= self._waiting_max:
                self._waiting.popleft()
                self._drop(f"{self._waiting_max} notices wait for it")
            self._waiting.append(notice)
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="evtools-hook", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def end(self) -> None:
        """Deliver what waits, each once more, and then nothing; `join` waits for that."""
        with self._changed:
            self._ending = True
            self._changed.notify_all()

    def join(self, timeout: float) -> bool:
        """Wait for the end of what waits; return whether it came."""
        if self._thread is not None:
            self._thread.join(timeout)
        return self._thread is None or not self._thread.is_alive()

    def give_up(self) -> None:
        """Kill what runs, and drop what is not delivered yet; `join` waits for the end of that."""
        with self._changed:
            self._ending = self._given_up = True
            left = self.waiting
            self._waiting.clear()
            self._changed.notify_all()
        if left:
            self.dropped += left
            _log.error("%s: evcam ends, and %d notices were not delivered", self._what, left)

    def as_dict(self) -> dict[str, Any]:
        """Return what is counted, as plain values."""
        return {
            "alert": self.alert, "hook": self.sender.shown, "delivered": self.delivered,
            "failed": self.failed, "retried": self.retried, "dropped": self.dropped,
            "waiting": self.waiting, "last_error": self.last_error,
        }  # fmt: skip

    # --- in the thread ------------------------------------------------------------------

    def _work(self) -> None:
        while True:
            with self._changed:
                self._busy = False
                self._changed.notify_all()
                while not (self._waiting or self._ending):
                    self._changed.wait()
                if not self._waiting:
                    return
                # In this order: who counts meanwhile may have one too many, and never none.
                self._busy = True
                notice = self._waiting.popleft()
            self._deliver(notice)

    def _deliver(self, notice: Notice) -> None:
        for wait in (*WAITS, None):
            try:
                self.sender.send(notice, lambda: self._given_up)
            except Exception as error:  # noqa: BLE001  (whatever it is, the others are delivered)
                if self._given_up:
                    return
                again = not isinstance(error, NotDelivered) or error.again
                asked = error.wait if isinstance(error, NotDelivered) else 0.0
                self.last_error = _reason(error)
                if wait is None or not again or self._ending:
                    self.failed += 1
                    self._say(f"{notice.state}: not delivered: {self.last_error}")
                    return
                self.retried += 1
                self._say(f"{notice.state}: {self.last_error}; trying again")
                with self._changed:
                    self._changed.wait_for(lambda: self._ending, max(wait, asked))
            else:
                self.delivered += 1
                if self._failures:
                    _log.warning("%s: works again, after %d failures", self._what, self._failures)
                    self._failures = 0
                return

    def _say(self, text: str) -> None:
        # The 1st, 2nd, 4th, ... of failures in a row.
        self._failures += 1
        if self._failures & (self._failures - 1) == 0:
            _log.error("%s: %s", self._what, text)

    def _drop(self, why: str) -> None:
        self.dropped += 1
        if self.dropped & (self.dropped - 1) == 0:
            _log.error("%s: %s: %d dropped so far", self._what, why, self.dropped)


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return one_line(str(error) or type(error).__name__)
