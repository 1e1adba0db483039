"""The HTTP server: addresses, requests of every kind, many clients, and the end."""

import contextlib
import http.client
import logging
import socket
import threading
import time

import pytest

from evtools.cam import http as module
from evtools.cam.http import Address, HTTPServer, Response
from evtools.errors import OutputError, UsageError
from servers.process import wait_until
from tools.studio import PATIENCE

LOOPBACK = Address("127.0.0.1", 0)


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("127.0.0.1:9808", "127.0.0.1", 9808),
        ("0.0.0.0:80", "0.0.0.0", 80),
        ("localhost:0", "localhost", 0),
        ("[::1]:9808", "::1", 9808),
        ("9808", "127.0.0.1", 9808),
        (":9808", "127.0.0.1", 9808),
        (" 9808 ", "127.0.0.1", 9808),
    ],
)
def test_an_address_is_a_host_and_a_port(text, host, port):
    assert Address.of(text) == Address(host, port)
    assert Address.of(str(Address(host, port))) == Address(host, port)


@pytest.mark.parametrize(
    "text", ["", "host", "host:", "\x1b:http", "::1:80", "1:2:3", "h:65536", "h:-1", "h:٣"]
)
def test_anything_else_is_refused_and_shown_printable(text):
    with pytest.raises(UsageError, match="cannot listen on") as refused:
        Address.of(text)
    assert refused.value.message.isprintable()


def hello(accept):
    return Response(200, f"hello {accept}".encode(), "text/html")


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
    connection = http.client.HTTPConnection(*place(server), timeout=PATIENCE)
    with contextlib.closing(connection):
        connection.request(method, path, headers=headers)
        response = connection.getresponse()
        return response.status, response.read()


def place(server):
    return server.address.host, server.address.port


def connect(server):
    return socket.create_connection(place(server), timeout=PATIENCE)


def exchange(server, *pieces, ends=False):
    """Send pieces of a request, and return all of the answer."""
    with connect(server) as client:
        for piece in pieces:
            client.sendall(piece)
            time.sleep(0.01)
        if ends:
            client.shutdown(socket.SHUT_WR)
        return client.makefile("rb").read()


# --- requests -----------------------------------------------------------------------


def test_a_path_is_answered_by_its_route(serve):
    answer = exchange(serve(), b"GET /hello?x=1 HTTP/1.1\r\nACCEPT: you\r\n\r\n")
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    for line in (b"Content-Type: text/html", b"Content-Length: 9", b"Connection: close"):
        assert b"\r\n" + line in head
    assert body == b"hello you"


@pytest.mark.parametrize(
    "pieces",
    [[b"GET /hel", b"lo HTTP/1.1\r", b"\n\r", b"\n"], [b"GET /hello HTTP/1.0\nAccept: \n\n"]],
)
def test_a_request_may_come_in_pieces_and_with_bare_newlines(serve, pieces):
    assert exchange(serve(), *pieces).endswith(b"hello ")


def test_head_gets_no_body_and_its_length(serve):
    answer = exchange(serve(), b"HEAD /hello HTTP/1.0\r\n\r\n")
    assert b"Content-Length: 6" in answer
    assert answer.endswith(b"\r\n\r\n")


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"POST /hello HTTP/1.1\r\nContent-Length: 0\r\n\r\n", b"405"),
        (b"get / HTTP/1.1\r\n\r\n", b"405"),
        # The answer arrives although more comes after the request.
        (b"POST / HTTP/1.1\r\n\r\n" + b"x" * 100_000, b"405"),
        (b"GET / HTTP/2.0\r\n\r\n", b"400"),
        (b"GET / HTTP/x\r\n\r\n", b"400"),
        (b"\x16\x03\x01\x02\x00\x01\r\n\r\n", b"400"),
        (b"GET /a b HTTP/1.1\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nX: " + b"x" * 10_000, b"431"),
        (b"GET /" + b"x" * 10_000, b"431"),
        (b"GET / HTTP/1.1\r\n" + b"X: x\r\n" * 101 + b"\r\n", b"431"),
    ],
)
def test_what_is_no_request_of_ours_is_refused(serve, data, status):
    answer = exchange(serve(), data)
    assert answer.startswith(b"HTTP/1.1 " + status)
    assert (b"Allow: GET, HEAD\r\n" in answer) == (status == b"405")


def test_a_route_that_raises_is_logged_with_its_traceback_once(serve, caplog):
    def broken(_):
        raise ValueError("oops")

    server = serve(broken=broken)
    for _ in range(2):
        assert get(server, "/broken") == (500, b"Internal Server Error: see the log\n")
    records = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert [bool(record.exc_info) for record in records] == [True, False]


# --- many, slow and strange clients -------------------------------------------------


@pytest.mark.parametrize("asked_by_others", [b"", b"GET /hello HTTP/1.1\r\n\r\n"])
def test_clients_that_are_silent_or_have_their_answer_make_room_but_not_those_that_wait(
    serve, monkeypatch, asked_by_others
):
    monkeypatch.setattr(module, "_CONNECTIONS_MAX", 3)
    monkeypatch.setattr(module, "_LINGERING", PATIENCE)
    go, asked = threading.Event(), threading.Event()

    def later(_):
        asked.set()
        assert go.wait(PATIENCE)
        return Response(200, b"at last")

    server = serve(later=later, hello=hello)
    with contextlib.ExitStack() as stack:
        waiting = stack.enter_context(connect(server))
        waiting.sendall(b"GET /later HTTP/1.1\r\n\r\n")
        assert asked.wait(PATIENCE)
        others = [stack.enter_context(connect(server)) for _ in range(2)]
        if asked_by_others:
            for other in others:
                other.sendall(asked_by_others)
                assert other.makefile("rb").read().endswith(b"hello ")
        for _ in range(3):
            # To its end, before which it waits.
            assert exchange(server, b"GET /hello HTTP/1.1\r\n\r\n").endswith(b"hello ")
        assert others[0].recv(1) == b""
        go.set()
        assert waiting.makefile("rb").read().endswith(b"at last")


def test_clients_that_come_and_go_leave_nothing(serve):
    server = serve()
    for _ in range(50):
        connect(server).close()
    with connect(server) as rude:
        rude.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        rude.sendall(b"GET /hel")
    wait_until(lambda: not server.connections, what="all to be closed")
    assert get(server)[0] == 200


def test_a_client_that_takes_too_long_to_ask_is_cut_off(serve, monkeypatch):
    monkeypatch.setattr(module, "_ASKING", 0.2)
    began = time.monotonic()
    with connect(serve()) as slow, contextlib.suppress(OSError):
        # However many pieces come, the time is that of the whole request.
        while time.monotonic() - began < PATIENCE:
            slow.sendall(b"G")
            slow.settimeout(0.05)
            with contextlib.suppress(TimeoutError):
                assert slow.recv(1) == b""
                break
    assert time.monotonic() - began < PATIENCE


@pytest.mark.parametrize(("bound", "size"), [("_TAKING", 12_000_000), ("_LINGERING", 1)])
def test_a_client_that_does_not_take_its_answer_or_never_stops_is_cut_off(
    serve, monkeypatch, bound, size
):
    monkeypatch.setattr(module, "_LINGERING", 0.1)
    monkeypatch.setattr(module, bound, 0.1)
    asked = threading.Event()

    def big(_):
        asked.set()
        return Response(200, b"x" * size)

    server = serve(big=big)
    with connect(server) as slow:
        slow.sendall(b"GET /big HTTP/1.1\r\n\r\n")
        assert asked.wait(PATIENCE)
        wait_until(lambda: not server.connections, what="its end")


def test_without_a_descriptor_for_another_connection_it_goes_on(serve, monkeypatch):
    refused, accept = [], socket.socket.accept

    def full(listening):
        if len(refused) < 2:
            refused.append(time.monotonic())
            raise OSError(24, "Too many open files")
        return accept(listening)

    monkeypatch.setattr(socket.socket, "accept", full)
    server = serve()  # which takes the method when it begins to listen
    assert get(server)[0] == 200
    # It does not spin meanwhile.
    assert refused[1] - refused[0] >= module._PAUSE


# --- begin and end ------------------------------------------------------------------


def test_an_address_is_bound_before_it_is_served_and_the_end_leaves_nothing():
    server = HTTPServer(LOOPBACK, {})
    with pytest.raises(OutputError, match=r"cannot listen on .*: Address already"):
        HTTPServer(server.address, {})
    server.start()
    with connect(server) as client:
        wait_until(lambda: server.connections, what="the connection")
        server.close()
        server.close()
        assert client.recv(1) == b""
    assert "evtools-http" not in [thread.name for thread in threading.enumerate()]
    HTTPServer(server.address, {}).close()


@pytest.mark.parametrize("host", ["no.such.host.invalid", "x" * 300, "1.2.3.4"])
def test_an_address_that_is_not_ours_is_one_clear_line(host):
    with pytest.raises(OutputError, match="cannot listen on"):
        HTTPServer(Address(host, 0), {})


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
            socket.create_connection((one, port), timeout=PATIENCE).close()
