"""The server: routes, many clients, strange clients, and the end."""

import contextlib
import http.client
import logging
import socket
import threading

import pytest

from evtools.cam.http import server as module
from evtools.cam.http.address import Address
from evtools.cam.http.connection import Response
from evtools.cam.http.server import HTTPServer
from evtools.errors import OutputError
from servers.process import wait_until
from tools.clock import FakeClock

LOOPBACK = Address("127.0.0.1", 0)


def hello(request):
    return Response(200, b"hello " + request.accept.encode())


@pytest.fixture
def serve():
    with contextlib.ExitStack() as stack:

        def start(**routes):
            named = {f"/{name}": route for name, route in routes.items()}
            server = HTTPServer(LOOPBACK, named or {"/hello": hello})
            stack.callback(server.close)
            server.start()
            return server

        yield start


def get(server, path="/hello", method="GET", **headers):
    connection = http.client.HTTPConnection(*place(server), timeout=5)
    with contextlib.closing(connection):
        connection.request(method, path, headers=headers)
        response = connection.getresponse()
        return response.status, response.read()


def place(server):
    return server.address.host, server.address.port


def connect(server):
    return socket.create_connection(place(server), timeout=5)


def test_a_path_is_answered_by_its_route(serve):
    assert get(serve(), Accept="you") == (200, b"hello you")


def test_another_path_says_what_there_is(serve):
    assert get(serve(), "/x") == (404, b"Not Found: there is: /hello\n")


def test_other_methods_are_refused(serve):
    server = serve()
    assert get(server, method="POST")[0] == 405
    assert get(server, method="HEAD") == (200, b"")


def test_a_route_that_raises_is_told_once_with_its_traceback(serve, caplog):
    def broken(_):
        raise ValueError("oops")

    server = serve(broken=broken)
    for _ in range(2):
        assert get(server, "/broken") == (500, b"Internal Server Error: see the log\n")
    records = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert len(records) == 2
    assert [bool(record.exc_info) for record in records] == [True, False]


def test_an_answer_may_come_later_and_others_do_not_wait_for_it(serve):
    answers = []

    def later(_):
        return answers[0] if answers else None

    server = serve(later=later, hello=hello)
    with connect(server) as waiting:
        waiting.sendall(b"GET /later HTTP/1.1\r\n\r\n")
        # It wants nothing more, but listens.
        waiting.shutdown(socket.SHUT_WR)
        assert get(server)[0] == 200
        answers.append(Response(200, b"at last"))
        assert waiting.makefile("rb").read().endswith(b"at last")


def test_who_says_nothing_makes_room_for_others(serve, monkeypatch):
    monkeypatch.setattr(module, "_CONNECTIONS_MAX", 3)
    server = serve()
    with contextlib.ExitStack() as stack:
        silent = [stack.enter_context(connect(server)) for _ in range(3)]
        for _ in range(3):
            assert get(server)[0] == 200
        assert silent[0].recv(1) == b""


def test_who_comes_and_goes_leaves_nothing(serve):
    server = serve()
    for _ in range(50):
        connect(server).close()
    with connect(server) as rude:
        rude.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        rude.sendall(b"GET /hel")
    wait_until(lambda: not server._connections, deadline=5, what="all to be dropped")
    assert get(server)[0] == 200


def test_who_takes_too_long_is_dropped():
    clock = FakeClock()
    server = HTTPServer(LOOPBACK, {"/hello": hello}, clock=clock)
    server.start()
    with contextlib.closing(server), connect(server) as slow:
        slow.sendall(b"GET /hel")
        wait_until(lambda: server._connections, deadline=5, what="the connection")
        clock.now += 60
        assert slow.recv(1) == b""


def test_many_ask_at_a_time(serve):
    body = b"x" * 1_000_000
    server = serve(big=lambda _: Response(200, body))
    found = []
    threads = [
        threading.Thread(target=lambda: found.append(get(server, "/big"))) for _ in range(20)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [(200, body)] * 20


def test_the_end_leaves_no_thread_and_no_address(serve):
    server = serve()
    with connect(server) as client:
        wait_until(lambda: server._connections, deadline=5, what="the connection")
        server.close()
        server.close()
        assert client.recv(1) == b""
    names = [thread.name for thread in threading.enumerate()]
    assert "evtools-http" not in names
    HTTPServer(server.address, {}).close()


def test_an_address_is_had_before_it_is_served():
    server = HTTPServer(LOOPBACK, {})
    assert server.address.port
    connect(server).close()
    server.close()


def test_an_address_that_is_taken_is_one_clear_line(serve):
    server = serve()
    with pytest.raises(OutputError, match=r"cannot listen on .*: Address already"):
        HTTPServer(server.address, {})


@pytest.mark.parametrize("host", ["no.such.host.invalid", "x" * 300, "1.2.3.4"])
def test_an_address_that_is_not_ours_is_one_clear_line(host):
    with pytest.raises(OutputError, match="cannot listen on"):
        HTTPServer(Address(host, 0), {})


def test_without_room_for_another_connection_the_others_are_served(serve, monkeypatch):
    server = serve()
    (listening,), refused = server._sockets, []

    class Full:
        """A socket that has no descriptor left, twice."""

        def accept(self):
            if len(refused) < 2:
                refused.append(1)
                raise OSError(24, "Too many open files")
            return listening.accept()

        def __getattr__(self, name):
            return getattr(listening, name)

    full = Full()
    server._selector.unregister(listening)
    server._selector.register(full, 1)
    server._sockets = (full,)
    assert get(server)[0] == 200
    assert len(refused) == 2


def test_a_client_may_be_gone_before_it_is_accepted(serve, monkeypatch):
    server = serve()

    class Empty:
        def accept(self):
            raise BlockingIOError

    server._accept(Empty())
    assert get(server)[0] == 200


@pytest.mark.parametrize(
    ("host", "hosts", "words"),
    [
        ("*", ["127.0.0.1", "::1"], "http://[::]:{} (all addresses)"),
        ("::", ["127.0.0.1", "::1"], "http://[::]:{} (all addresses)"),
        ("0.0.0.0", ["127.0.0.1"], "http://0.0.0.0:{} (all of IPv4)"),
        ("127.0.0.1", ["127.0.0.1"], "http://127.0.0.1:{} (this machine only)"),
        ("both", ["127.0.0.1", "::1"], "http://[::1]:{} (this machine only)"),
        ("half", ["127.0.0.1"], "http://127.0.0.1:{} (this machine only)"),
    ],
)
def test_it_listens_where_it_was_asked_to_and_says_where(monkeypatch, caplog, host, hosts, words):
    # What a name stands for is up to the machine; these two are in no hosts file.
    names = {"both": ["::1", "127.0.0.1"], "half": ["2001:db8::1", "127.0.0.1"]}
    real = socket.getaddrinfo

    def resolve(name, *rest, **how):
        each = names.get(name, [name])
        return [found for one in each for found in real(one, *rest, **how)]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    caplog.set_level(logging.INFO)
    server = HTTPServer(Address(host, 0), {"/hello": hello})
    server.start()
    with contextlib.closing(server):
        port = server.address.port
        assert f"serving /hello at {words.format(port)}" in caplog.text
        for one in hosts:
            socket.create_connection((one, port), timeout=5).close()


def test_it_listens_on_ipv6_too():
    server = HTTPServer(Address("::1", 0), {"/hello": hello})
    server.start()
    with contextlib.closing(server):
        assert str(server.address).startswith("[::1]:")
        assert get(server)[0] == 200
