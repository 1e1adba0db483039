"""A small HTTP server for scrapers and probes: GET and HEAD of a few paths.

Nothing is changed here and nothing is secret, so there is no login, and no check of the
Host header: a page whose name resolves to this address would learn the names of tasks, as
any local user can.  Listening on another address than loopback has to be asked for.
"""

import errno
import io
import logging
import re
import selectors
import socket
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from http.client import HTTPException
from http.server import BaseHTTPRequestHandler
from ipaddress import ip_address
from typing import Any, Final, NamedTuple, Self, TypeAlias

from evtools.cam.log import FailureLog
from evtools.errors import OutputError, UsageError
from evtools.text import sanitize

_log = logging.getLogger(__name__)

_LOOPBACK: Final = "127.0.0.1"
_PORT_MAX: Final = 65535
_ADDRESS: Final = re.compile(
    r"(?:(?:\[(?P<six>[^\]]+)\]|(?P<host>[^:\[\]]*)):)?(?P<port>\d{1,5})", re.ASCII
)
#: All addresses, as people write them and as the kernel has them.
_ALL, _ALL_OF_SIX, _ALL_OF_FOUR = "*", "::", "0.0.0.0"  # noqa: S104  (asked for)
_ALL_WORDS: Final = {_ALL_OF_SIX: "all addresses", _ALL_OF_FOUR: "all of IPv4"}
#: Errors of addresses that this machine does not have.
_MISSING: Final = {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}

#: Seconds that a client has to send its request, to take the answer, and during which
#: anything that follows the request is thrown away.
_ASKING, _TAKING, _LINGERING = 5.0, 10.0, 1.0
_REQUEST_MAX_BYTES: Final = 8192
#: Connections at a time.  Beyond that, one that has not sent its request is cut off, the
#: oldest first.
_CONNECTIONS_MAX: Final = 32
#: Seconds to wait when there is no descriptor left for a connection.
_PAUSE: Final = 0.05
#: Seconds that `close` waits for answers under way.
_PATIENCE: Final = 2.0
#: The answers to requests that http.server refuses with these, if not 400.
_ERRORS: Final = {
    501: (405, "GET and HEAD only"),  # another method
    **dict.fromkeys((414, 431), (431, "the request is too long")),
}


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen; port 0 is any free one."""

    host: str
    port: int

    @classmethod
    def of(cls, text: str) -> Self:
        """Parse `HOST:PORT`, `[::1]:PORT`, or a port alone, on loopback; raise UsageError."""
        found = _ADDRESS.fullmatch(text.strip())
        if found is None or int(found["port"]) > _PORT_MAX:
            hint = "write it as in 127.0.0.1:9808, [::1]:9808 or 9808"
            raise UsageError(f'cannot listen on "{sanitize(text)}"', hint)
        return cls(found["six"] or found["host"] or _LOOPBACK, int(found["port"]))

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


class Response(NamedTuple):
    """An answer to a request."""

    status: int
    body: bytes
    content_type: str = "text/plain; charset=utf-8"


def refusal(status: int, text: str) -> Response:
    """Return the answer to a request that cannot be served."""
    return Response(status, f"{HTTPStatus(status).phrase}: {text}\n".encode())


#: Answers a request with this Accept header, in a thread of its own.
Route: TypeAlias = Callable[[str], Response]


class HTTPServer:
    """Answer requests for the paths of `routes`, each in a thread of its own, after `start`.

    The addresses are bound at once.  Raise OutputError if they cannot be bound.
    """

    def __init__(self, address: Address, routes: Mapping[str, Route]) -> None:
        self.routes = routes
        self.failures = FailureLog()
        #: The open connections, the oldest first, and whether they wait for an answer.
        self.connections: dict[socket.socket, bool] = {}
        self.lock = threading.Lock()
        self._listening = _listen(address)
        self._addresses = [Address(*each.getsockname()[:2]) for each in self._listening]
        #: Where it listens; the first address, if a name has several.
        self.address = self._addresses[0]
        self._closing = False
        self._thread = threading.Thread(target=self._serve, name="evtools-http", daemon=True)

    def start(self) -> None:
        places = []
        for address in self._addresses:
            words = _ALL_WORDS.get(address.host, "")
            if not words and ip_address(address.host).is_loopback:
                words = "this machine only"
            places.append(f"http://{address}" + (f" ({words})" if words else ""))
        _log.info("serving %s at %s", ", ".join(self.routes), " and ".join(places))
        self._thread.start()

    def close(self) -> None:
        """Close all connections and the addresses; idempotent."""
        self._closing = True
        for listening in self._listening:
            # So that the thread looks up from `select` at once.
            _cut_off(listening)
        if self._thread.ident is not None:
            self._thread.join()
        for listening in self._listening:
            listening.close()
        with self.lock:
            for client in self.connections:
                _cut_off(client)
        deadline = time.monotonic() + _PATIENCE
        while self.connections and time.monotonic() < deadline:
            time.sleep(0.01)

    def _serve(self) -> None:
        with selectors.DefaultSelector() as waiting:
            for listening in self._listening:
                waiting.register(listening, selectors.EVENT_READ, listening.accept)
            while True:
                ready = waiting.select()
                if self._closing:
                    return
                for key, _ in ready:
                    try:
                        self._begin(key.data()[0])
                    except BlockingIOError:
                        continue
                    except (OSError, RuntimeError):
                        # No descriptor or thread is left, and the socket stays readable.
                        time.sleep(_PAUSE)

    def _begin(self, client: socket.socket) -> None:
        thread = threading.Thread(target=self._answer, args=(client,), daemon=True)
        with self.lock:
            thread.start()
            if len(self.connections) >= _CONNECTIONS_MAX:
                oldest = min(self.connections, key=self.connections.__getitem__)
                del self.connections[oldest]
                _cut_off(oldest)
            self.connections[client] = False

    def _answer(self, client: socket.socket) -> None:
        try:
            with client:
                _Handler(client, "", self)  # type: ignore[arg-type]  # it asks nothing else of it
        except Exception:  # noqa: BLE001  (a client's)
            _log.debug("a connection failed", exc_info=True)
        finally:
            with self.lock:
                self.connections.pop(client, None)


class _Handler(BaseHTTPRequestHandler):
    # One request, bounded in time and size, and one answer.

    protocol_version = "HTTP/1.1"
    # Of requests that cannot be parsed, whose answer has a head, too.
    default_request_version = request_version = "HTTP/1.1"
    command = ""
    server: Any

    def setup(self) -> None:
        super().setup()
        self.rfile = io.BufferedReader(_Limited(self.connection))

    def handle(self) -> None:
        try:
            self.handle_one_request()
        except HTTPException:
            self.send_error(431)
        except OSError:
            return
        self._waits(is_waiting=False)
        with suppress(OSError):
            # Closed with something unread, the connection would take the answer with it.
            self.connection.shutdown(socket.SHUT_WR)
            deadline = time.monotonic() + _LINGERING
            while (left := deadline - time.monotonic()) > 0:
                self.connection.settimeout(left)
                if not self.connection.recv(_REQUEST_MAX_BYTES):
                    break

    def _waits(self, *, is_waiting: bool) -> None:
        owner: HTTPServer = self.server
        with owner.lock:
            if self.connection in owner.connections:
                owner.connections[self.connection] = is_waiting

    def do_GET(self) -> None:
        owner: HTTPServer = self.server
        self._waits(is_waiting=True)
        path = self.path.partition("?")[0]
        try:
            if path in owner.routes:
                answer = owner.routes[path](self.headers.get("Accept", ""))
            else:
                answer = refusal(404, f"there is: {', '.join(owner.routes)}")
        except Exception as error:  # noqa: BLE001  (one bad answer is not the end)
            owner.failures.error(f"cannot answer {path}", error)
            answer = refusal(500, "see the log")
        self._send(answer)

    do_HEAD = do_GET  # noqa: N815  (named by the base class)

    def send_error(self, code: int, *_: object, **__: object) -> None:
        self._send(refusal(*_ERRORS.get(code, (400, "this is no HTTP/1.1"))))

    def _send(self, response: Response) -> None:
        self.close_connection = True
        self.send_response_only(response.status)
        self.send_header("Content-Type", response.content_type)
        self.send_header("Content-Length", str(len(response.body)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Connection", "close")
        if response.status == HTTPStatus.METHOD_NOT_ALLOWED:
            self.send_header("Allow", "GET, HEAD")
        self.connection.settimeout(_TAKING)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(response.body)

    def log_message(self, *args: Any) -> None:
        _log.debug(*args)


class _Limited(io.RawIOBase):
    # The bytes of a request: no more than may be, and no later.

    def __init__(self, client: socket.socket) -> None:
        self._client = client
        self._left = _REQUEST_MAX_BYTES
        self._deadline = time.monotonic() + _ASKING

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if self._left <= 0:
            raise HTTPException("the request is too long")
        seconds = self._deadline - time.monotonic()
        if seconds <= 0:
            raise TimeoutError
        self._client.settimeout(seconds)
        received = self._client.recv_into(buffer, min(len(buffer), self._left))
        self._left -= received
        return received


def _cut_off(client: socket.socket) -> None:
    # Have the thread of a socket end; it closes it.
    with suppress(OSError):
        client.shutdown(socket.SHUT_RDWR)


def _listen(address: Address) -> list[socket.socket]:
    # One for each address of a host; `*` is all, of IPv4 and IPv6.  An address that this
    # machine does not have, such as ::1 without IPv6, is left out as long as there is another.
    host, port = address.host, address.port
    found: list[socket.socket] = []
    missing: OSError | None = None
    try:
        places = [(socket.AF_INET6, _ALL_OF_SIX), (socket.AF_INET, _ALL_OF_FOUR)]
        if host != _ALL:
            known = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            places = list(dict.fromkeys((each[0], str(each[4][0])) for each in known))
        for family, place in places:
            try:
                # All addresses include those of IPv4; a name may stand for one of each.
                both = place == _ALL_OF_SIX
                listening = socket.create_server((place, port), family=family, dualstack_ipv6=both)
            except OSError as error:
                if error.errno not in _MISSING:
                    raise
                missing = error
                continue
            listening.settimeout(0)
            found.append(listening)
            port = listening.getsockname()[1]
            if host == _ALL:
                break
        if missing and not found:
            raise missing
    except (OSError, UnicodeError) as error:
        for listening in found:
            listening.close()
        text = getattr(error, "strerror", None) or str(error)
        raise OutputError(f"cannot listen on {address}: {text}") from error
    return found
