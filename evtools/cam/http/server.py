"""A small HTTP server for scrapers and probes, in a thread of its own."""

import errno
import logging
import selectors
import socket
import threading
from collections.abc import Callable, Mapping
from ipaddress import ip_address
from typing import Final, TypeAlias

from evtools.cam.failures import Failures
from evtools.cam.http.address import Address
from evtools.cam.http.connection import Connection, Request, Response, refusal
from evtools.clock import Clock, SystemClock
from evtools.errors import OutputError

_log = logging.getLogger(__name__)

# Nothing is changed here and nothing is secret, so there is no login, and no look at
# the Host header: a page that has its own name resolve to our address would learn
# the names of tasks, as any local user can.  Who listens on another address than
# loopback asked for that.

#: What answers a request; None: not yet, ask again.
Route: TypeAlias = Callable[[Request], Response | None]

#: All addresses, as people write them and as the kernel has them.
_ALL, _ALL_OF_SIX, _ALL_OF_FOUR = "*", "::", "0.0.0.0"  # noqa: S104  (asked for)
_ALL_WORDS: Final = {_ALL_OF_SIX: "all addresses", _ALL_OF_FOUR: "all of IPv4"}
#: Of addresses that this machine does not have.
_MISSING: Final = {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}
#: Connections at a time.  With more, who has waited longest to tell what they want
#: is cut off.
_CONNECTIONS_MAX: Final = 32
#: Seconds after which answers that were not ready are asked for again.
_AGAIN: Final = 0.05
#: How often connections are looked at that may have taken too long, in seconds.
_TICK: Final = 0.5


class HTTPServer:
    """Answer GET and HEAD for some paths.

    Listens from the beginning, and answers after `start`.  Raise OutputError
    if the address cannot be had.
    """

    def __init__(
        self, address: Address, routes: Mapping[str, Route], *, clock: Clock | None = None
    ) -> None:
        self._routes = routes
        self._clock = clock or SystemClock()
        self._connections: dict[socket.socket, Connection] = {}
        self._sockets = _listen(address)
        #: Where it listens; the first, if a name has several addresses.
        self.address = _address_of(self._sockets[0])
        self._waker, self._wake = socket.socketpair()
        self._selector = selectors.DefaultSelector()
        for listening in self._sockets:
            self._selector.register(listening, selectors.EVENT_READ)
        self._selector.register(self._waker, selectors.EVENT_READ)
        self._failures = Failures()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="evtools-http", daemon=True)

    def start(self) -> None:
        """Begin to answer, and say where."""
        places = " and ".join(_words(each) for each in self._sockets)
        _log.info("serving %s at %s", ", ".join(self._routes), places)
        self._thread.start()

    def close(self) -> None:
        """Let go of all connections and of the address; idempotent."""
        if self._closing:
            return
        self._closing = True
        self._wake.close()
        if self._thread.ident is not None:
            self._thread.join()
        for connection in list(self._connections.values()):
            self._drop(connection)
        for each in (*self._sockets, self._waker):
            each.close()
        self._selector.close()

    # --- the thread ------------------------------------------------------------------

    def _run(self) -> None:
        while not self._closing:
            waits = any(each.waits for each in self._connections.values())
            ready = self._selector.select(_AGAIN if waits else _TICK)
            for key, _ in ready:
                if key.fileobj in self._sockets:
                    self._accept(key.fileobj)
            for connection in list(self._connections.values()):
                self._serve(connection)

    def _accept(self, listening: socket.socket) -> None:
        try:
            client, _ = listening.accept()
        except OSError as error:
            # None left; or no room for one: it may be there soon.
            if not isinstance(error, BlockingIOError):
                threading.Event().wait(_AGAIN)
            return
        if len(self._connections) >= _CONNECTIONS_MAX:
            self._drop(min(self._connections.values(), key=_patience))
        client.settimeout(0)
        self._connections[client] = Connection(client, self._clock.monotonic())

    def _serve(self, connection: Connection) -> None:
        """Do what can be done for a connection now."""
        now = self._clock.monotonic()
        try:
            request = connection.read(now)
            if request is not None:
                response = self._answer(request)
                if response is not None:
                    connection.answer(response, now)
            connection.write(now)
        except OSError:
            self._drop(connection)
            return
        if connection.is_over(now):
            self._drop(connection)
        else:
            self._watch(connection.socket, connection.events)

    def _answer(self, request: Request) -> Response | None:
        route = self._routes.get(request.path)
        if route is None:
            return refusal(404, f"there is: {', '.join(self._routes)}")
        try:
            return route(request)
        except Exception as error:  # noqa: BLE001  (one bad answer is not the end)
            self._failures.tell(f"cannot answer {request.path}", error)
            return refusal(500, "see the log")

    def _drop(self, connection: Connection) -> None:
        del self._connections[connection.socket]
        self._watch(connection.socket, 0)
        connection.close()

    def _watch(self, client: socket.socket, events: int) -> None:
        """Look out for `events` of a socket, for nothing if 0."""
        if client in self._selector.get_map():
            self._selector.unregister(client)
        if events:
            self._selector.register(client, events)


def _patience(connection: Connection) -> tuple[bool, float]:
    """Tell whose turn it is to go: who has not asked for anything yet, the oldest."""
    return connection.has_asked, connection.since


def _listen(address: Address) -> tuple[socket.socket, ...]:
    """Return a socket for each address of a host; `*` is all, of IPv4 and IPv6.

    One that this machine does not have, such as ::1 without IPv6, is left out,
    as long as there is another.
    """
    found: list[socket.socket] = []
    missing: OSError | None = None
    try:
        for family, host in _places(address):
            port = found[0].getsockname()[1] if found else address.port
            try:
                found.append(_bound(family, (host, port)))
            except OSError as error:
                if error.errno not in _MISSING:
                    raise
                missing = error
            if found and address.host == _ALL:
                break
        if missing and not found:
            raise missing
    except (OSError, UnicodeError) as error:
        for listening in found:
            listening.close()
        text = getattr(error, "strerror", None) or str(error)
        raise OutputError(f"cannot listen on {address}: {text}") from error
    return tuple(found)


def _places(address: Address) -> list[tuple[int, str]]:
    """Return the families and addresses that a host stands for, each once."""
    if address.host == _ALL:
        return [(socket.AF_INET6, _ALL_OF_SIX), (socket.AF_INET, _ALL_OF_FOUR)]
    kind = socket.SOCK_STREAM
    found = socket.getaddrinfo(address.host, address.port, type=kind)
    return list(dict.fromkeys((each[0], str(each[4][0])) for each in found))


def _bound(family: int, place: tuple[str, int]) -> socket.socket:
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            # Of all addresses, those of IPv4 are part; a name may stand for both.
            only = place[0] != _ALL_OF_SIX
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, only)
        listening.bind(place)
        listening.listen()
        listening.settimeout(0)
    except BaseException:
        listening.close()
        raise
    return listening


def _address_of(listening: socket.socket) -> Address:
    return Address(*listening.getsockname()[:2])


def _words(listening: socket.socket) -> str:
    address = _address_of(listening)
    where = _ALL_WORDS.get(address.host, "")
    if not where and ip_address(address.host).is_loopback:
        where = "this machine only"
    return f"http://{address}" + (f" ({where})" if where else "")
