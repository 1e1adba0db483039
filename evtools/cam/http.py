"""A small HTTP server for scrapers and probes: GET and HEAD of a few paths.

Nothing is changed here and nothing is secret, so there is no login, and no check of the
Host header: a page whose name resolves to this address would learn the names of tasks, as
any local user can.  Listening on another address than loopback has to be asked for.
"""

import errno
import io
import logging
import re
import socket
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from http.client import HTTPException
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from typing import Any, Final, Self, TypeAlias

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


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen; port 0 is any free one."""

    host: str
    port: int

    @classmethod
    def of(cls, text: str) -> Self:
        """Parse `HOST:PORT`, `[::1]:PORT`, or a port alone, which is on loopback.

        Raise UsageError for anything else.
        """
        found = _ADDRESS.fullmatch(text.strip())
        if found is None or int(found["port"]) > _PORT_MAX:
            raise UsageError(
                f'cannot listen on "{sanitize(text)}"',
                "write it as in 127.0.0.1:9808, [::1]:9808 or 9808",
            )
        return cls(found["six"] or found["host"] or _LOOPBACK, int(found["port"]))

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Request:
    """A request of a client; `path` is without the query, `accept` is the header."""

    path: str
    accept: str = ""


@dataclass(frozen=True, slots=True)
class Response:
    """An answer to a request."""

    status: int
    body: bytes
    content_type: str = "text/plain; charset=utf-8"
    headers: Mapping[str, str] = field(default_factory=dict)


def refusal(status: int, text: str, **headers: str) -> Response:
    """Return the answer to a request that cannot be served."""
    body = f"{HTTPStatus(status).phrase}: {text}\n".encode()
    return Response(status, body, headers=headers)


#: Answers a request, in a thread of its own.
Route: TypeAlias = Callable[[Request], Response]


class HTTPServer:
    """Answer requests for the paths of `routes`, each in a thread of its own.

    The addresses are bound at once and served after `start`.  Raise OutputError if they
    cannot be bound.
    """

    def __init__(self, address: Address, routes: Mapping[str, Route]) -> None:
        self._routes = routes
        self._failures = FailureLog()
        self._lock = threading.Lock()
        #: The open connections, the oldest first, and whether their request has come.
        self._connections: dict[socket.socket, bool] = {}
        self._closing = False
        self._servers = [_Server(self, listening) for listening in _listen(address)]
        #: Where it listens; the first address, if a name has several.
        self.address = _address_of(self._servers[0].socket)
        self._threads = [
            threading.Thread(target=server.serve_forever, name="evtools-http", daemon=True)
            for server in self._servers
        ]

    def start(self) -> None:
        places = " and ".join(_place(server.socket) for server in self._servers)
        _log.info("serving %s at %s", ", ".join(self._routes), places)
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """Close all connections and the addresses; idempotent."""
        if self._closing:
            return
        self._closing = True
        for server, thread in zip(self._servers, self._threads, strict=True):
            if thread.ident is not None:
                # So that its loop looks up from `select` at once.
                with suppress(OSError):
                    server.socket.shutdown(socket.SHUT_RDWR)
                server.shutdown()
                thread.join()
            server.server_close()
        with self._lock:
            for client in self._connections:
                _cut_off(client)
        deadline = time.monotonic() + _PATIENCE
        while self._connections and time.monotonic() < deadline:
            time.sleep(0.01)

    # --- of the handlers --------------------------------------------------------------

    def answer(self, request: Request) -> Response:
        """Return the answer of a route, or why there is none."""
        route = self._routes.get(request.path)
        if route is None:
            return refusal(404, f"there is: {', '.join(self._routes)}")
        try:
            return route(request)
        except Exception as error:  # noqa: BLE001  (one bad answer is not the end)
            self._failures.error(f"cannot answer {request.path}", error)
            return refusal(500, "see the log")

    def opened(self, client: socket.socket) -> None:
        """Note a connection, and cut another one off if there are too many."""
        with self._lock:
            if len(self._connections) >= _CONNECTIONS_MAX:
                oldest = min(self._connections, key=self._connections.__getitem__)
                del self._connections[oldest]
                _cut_off(oldest)
            self._connections[client] = False

    def asked(self, client: socket.socket) -> None:
        with self._lock:
            if client in self._connections:
                self._connections[client] = True

    def closed(self, client: socket.socket) -> None:
        with self._lock:
            self._connections.pop(client, None)


class _Server(ThreadingHTTPServer):
    """The standard library's server, on a socket that listens already."""

    def __init__(self, owner: HTTPServer, listening: socket.socket) -> None:
        super().__init__(("", 0), _Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = listening
        self.owner = owner

    def get_request(self) -> tuple[socket.socket, Any]:
        try:
            return super().get_request()
        except BlockingIOError:
            raise
        except OSError:
            # No descriptor is left, and the socket stays readable.
            time.sleep(_PAUSE)
            raise

    def process_request(self, request: Any, client_address: Any) -> None:
        self.owner.opened(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        super().shutdown_request(request)
        self.owner.closed(request)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002
        _log.debug("a connection failed", exc_info=True)


class _Handler(BaseHTTPRequestHandler):
    """One request, bounded in time and size, and one answer."""

    protocol_version = "HTTP/1.1"
    # Of requests that cannot be parsed, whose answer has a head, too.
    default_request_version = request_version = "HTTP/1.1"
    command = ""
    server: _Server

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
        with suppress(OSError):
            # Closed with something unread, the connection would take the answer with it.
            self.connection.shutdown(socket.SHUT_WR)
            deadline = time.monotonic() + _LINGERING
            while (left := deadline - time.monotonic()) > 0:
                self.connection.settimeout(left)
                if not self.connection.recv(_REQUEST_MAX_BYTES):
                    break

    def do_GET(self) -> None:
        self.server.owner.asked(self.connection)
        path = self.path.partition("?")[0]
        self._send(self.server.owner.answer(Request(path, self.headers.get("Accept", ""))))

    do_HEAD = do_GET  # noqa: N815  (named by the base class)

    def send_error(self, code: int, *_: object, **__: object) -> None:
        match code:
            case 501:
                self._send(refusal(405, "GET and HEAD only", Allow="GET, HEAD"))
            case 414 | 431:
                self._send(refusal(431, "the request is too long"))
            case _:
                self._send(refusal(400, "this is no HTTP/1.1"))

    def _send(self, response: Response) -> None:
        self.close_connection = True
        self.send_response_only(response.status)
        head = {
            "Content-Type": response.content_type,
            "Content-Length": str(len(response.body)),
            "Cache-Control": "no-store",
            "X-Content-Type-Options": "nosniff",
            "Connection": "close",
            **response.headers,
        }
        for name, value in head.items():
            self.send_header(name, value)
        self.connection.settimeout(_TAKING)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(response.body)

    def log_message(self, *args: Any) -> None:
        _log.debug(*args)


class _Limited(io.RawIOBase):
    """The bytes of a request: no more than may be, and no later."""

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
    """Have the thread of a connection end; it closes the socket."""
    with suppress(OSError):
        client.shutdown(socket.SHUT_RDWR)


def _listen(address: Address) -> list[socket.socket]:
    """Return a socket for each address of a host; `*` is all, of IPv4 and IPv6.

    An address that this machine does not have, such as ::1 without IPv6, is left out as
    long as there is another.
    """
    found: list[socket.socket] = []
    missing: OSError | None = None
    try:
        for family, host in _places(address):
            port = found[0].getsockname()[1] if found else address.port
            try:
                # All addresses include those of IPv4; a name may stand for one of each.
                both = host == _ALL_OF_SIX
                listening = socket.create_server((host, port), family=family, dualstack_ipv6=both)
            except OSError as error:
                if error.errno not in _MISSING:
                    raise
                missing = error
                continue
            listening.settimeout(0)
            found.append(listening)
            if address.host == _ALL:
                break
        if missing and not found:
            raise missing
    except (OSError, UnicodeError) as error:
        for listening in found:
            listening.close()
        text = getattr(error, "strerror", None) or str(error)
        raise OutputError(f"cannot listen on {address}: {text}") from error
    return found


def _places(address: Address) -> list[tuple[int, str]]:
    """Return the families and addresses that a host stands for, each once."""
    if address.host == _ALL:
        return [(socket.AF_INET6, _ALL_OF_SIX), (socket.AF_INET, _ALL_OF_FOUR)]
    found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys((each[0], str(each[4][0])) for each in found))


def _address_of(listening: socket.socket) -> Address:
    return Address(*listening.getsockname()[:2])


def _place(listening: socket.socket) -> str:
    address = _address_of(listening)
    where = _ALL_WORDS.get(address.host, "")
    if not where and ip_address(address.host).is_loopback:
        where = "this machine only"
    return f"http://{address}" + (f" ({where})" if where else "")
