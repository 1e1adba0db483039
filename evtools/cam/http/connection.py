"""One connection to our HTTP server: a request, and a response to it."""

import re
import selectors
import socket
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final

#: How long a client may take to ask, and to take the answer, in seconds.
_ASKING: Final = 5.0
_TAKING: Final = 10.0
#: For how long what comes after the request is thrown away.
_LINGERING: Final = 1.0
#: As long as an answer may take, in seconds.
_ANSWERING: Final = 30.0

_REQUEST_MAX_BYTES: Final = 8192
_READ_BYTES: Final = 4096
_PLAIN: Final = "text/plain; charset=utf-8"

_LINE: Final = re.compile(rb"([A-Z]+) (/\S*) HTTP/1\.[01]")
_ACCEPT: Final = re.compile(rb"\r?\naccept:[ \t]*([^\r\n]*)", re.IGNORECASE)
_END: Final = re.compile(rb"\r?\n\r?\n")
_METHODS: Final = frozenset({b"GET", b"HEAD"})


@dataclass(frozen=True, slots=True)
class Request:
    """What a client wants; `path` is without the query."""

    path: str
    accept: str = ""
    headers_only: bool = False


@dataclass(frozen=True, slots=True)
class Response:
    """What a client gets."""

    status: int
    body: bytes
    content_type: str = _PLAIN
    headers: dict[str, str] = field(default_factory=dict)


def refusal(status: int, text: str, **headers: str) -> Response:
    """Return the response that something went wrong."""
    phrase = HTTPStatus(status).phrase
    return Response(status, f"{phrase}: {text}\n".encode(), headers=headers)


class Connection:
    """A client's connection, on which nothing waits.

    `since` is when it came, by the monotonic clock, as all times here.
    """

    def __init__(self, client: socket.socket, now: float) -> None:
        self.socket = client
        self.since = now
        self._deadline = now + _ASKING
        self._asked = bytearray()
        self._request: Request | None = None
        self._answer: memoryview | None = None
        self._has_ended = False

    # --- what it is about ------------------------------------------------------------

    @property
    def has_asked(self) -> bool:
        """Whether it has told what it wants."""
        return self._request is not None or self._answer is not None

    @property
    def waits(self) -> bool:
        """Whether there is no answer yet to what it wants."""
        return self._request is not None and self._answer is None

    @property
    def events(self) -> int:
        """What of its socket to look out for; 0 while it waits for an answer."""
        if self._answer:
            return selectors.EVENT_WRITE
        return 0 if self.waits else selectors.EVENT_READ

    def is_over(self, now: float) -> bool:
        """Tell whether there is nothing more to do, or no more time."""
        return self._has_ended or now >= self._deadline

    # --- what happens ----------------------------------------------------------------

    def read(self, now: float) -> Request | None:
        """Return what it wants, once that is known and while it has no answer.

        Raise OSError if the client has gone.
        """
        if self._answer is None:
            if self._request is None:
                self._read_request(now)
            return self._request
        if not self._answer:
            # Closed with something unread, it would take the answer with it.
            self._has_ended = self._receive(_READ_BYTES) == b""
        return None

    def answer(self, response: Response, now: float) -> None:
        """Set the answer."""
        head = {
            "Content-Type": response.content_type,
            "Content-Length": str(len(response.body)),
            "Cache-Control": "no-store",
            "X-Content-Type-Options": "nosniff",
            "Connection": "close",
            **response.headers,
        }
        phrase = HTTPStatus(response.status).phrase
        lines = [f"HTTP/1.1 {response.status} {phrase}"]
        lines += [f"{name}: {value}" for name, value in head.items()]
        data = "\r\n".join([*lines, "", ""]).encode("latin-1", "replace")
        if self._request is None or not self._request.headers_only:
            data += response.body
        self._answer = memoryview(data)
        self._deadline = now + _TAKING

    def write(self, now: float) -> None:
        """Send what there is to send, as much as goes."""
        if not self._answer:
            return
        try:
            sent = self.socket.send(self._answer)
        except BlockingIOError:
            return
        self._answer = self._answer[sent:]
        if not self._answer:
            self.socket.shutdown(socket.SHUT_WR)
            self._deadline = now + _LINGERING

    def close(self) -> None:
        """Let go of it."""
        self.socket.close()

    # --- the request -----------------------------------------------------------------

    def _read_request(self, now: float) -> None:
        data = self._receive(_READ_BYTES)
        if data is None:
            return
        self._asked += data
        refused = None
        if _END.search(self._asked):
            refused = self._understand()
        elif not data:
            refused = refusal(400, "the request breaks off")
        elif len(self._asked) > _REQUEST_MAX_BYTES:
            refused = refusal(431, "the request is too long")
        if refused is not None:
            self.answer(refused, now)
        elif self._request is not None:
            self._deadline = now + _ANSWERING

    def _understand(self) -> Response | None:
        """Take in the request; return what to answer if it is none."""
        line = bytes(self._asked).split(b"\n", 1)[0].rstrip(b"\r")
        found = _LINE.fullmatch(line)
        if found is None:
            return refusal(400, "this is no HTTP/1.1")
        method, target = found.groups()
        if method not in _METHODS:
            return refusal(405, "GET and HEAD only", Allow="GET, HEAD")
        accepts = _ACCEPT.search(self._asked)
        self._request = Request(
            target.partition(b"?")[0].decode("latin-1"),
            accepts[1].decode("latin-1") if accepts else "",
            method == b"HEAD",
        )
        return None

    def _receive(self, most_bytes: int) -> bytes | None:
        """Return what has come, b"" at the end, None if nothing has."""
        try:
            return self.socket.recv(most_bytes)
        except BlockingIOError:
            return None
