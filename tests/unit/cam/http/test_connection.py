"""A connection: what clients may send, and what they get."""

import socket

import pytest

from evtools.cam.http.connection import Connection, Request, Response, refusal

NOW = 100.0


@pytest.fixture
def pair():
    ours, theirs = socket.socketpair()
    ours.settimeout(0)
    theirs.settimeout(5)
    with ours, theirs:
        yield ours, theirs


@pytest.fixture
def client(pair):
    return pair[1]


@pytest.fixture
def connection(pair):
    return Connection(pair[0], NOW)


def exchange(connection, client, data, response=None):
    """Send `data`, answer what is asked, and return request and answer."""
    client.sendall(data)
    request = connection.read(NOW)
    if request is not None:
        connection.answer(response or Response(200, b"hello\n"), NOW)
    connection.write(NOW)
    return request, received(client)


def received(client):
    parts = []
    while part := client.recv(65536):
        parts.append(part)
    return b"".join(parts)


def test_a_request_gets_its_answer(connection, client):
    request, answer = exchange(connection, client, b"GET /livez HTTP/1.1\r\n\r\n")
    assert request == Request("/livez")
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"Content-Length: 6" in head
    assert b"Connection: close" in head
    assert body == b"hello\n"


def test_an_answer_has_the_type_it_was_given(connection, client):
    response = Response(200, b"{}", "application/json")
    _, answer = exchange(connection, client, b"GET / HTTP/1.1\r\n\r\n", response)
    assert b"Content-Type: application/json\r\n" in answer


def test_head_gets_no_body_and_is_told_its_length(connection, client):
    request, answer = exchange(connection, client, b"HEAD /livez HTTP/1.0\r\n\r\n")
    assert request == Request("/livez", headers_only=True)
    assert b"Content-Length: 6" in answer
    assert answer.endswith(b"\r\n\r\n")


@pytest.mark.parametrize("end", ["\r\n", "\n"])
def test_what_a_scraper_accepts_is_understood(connection, client, end):
    lines = ["GET /metrics?x=1 HTTP/1.1", "Host: x", "ACCEPT: text/plain", "", ""]
    request, _ = exchange(connection, client, end.join(lines).encode())
    assert request == Request("/metrics", "text/plain")


def test_a_request_may_come_in_pieces(connection, client):
    for piece in (b"GET /li", b"vez HTTP/1.1\r", b"\n\r"):
        client.sendall(piece)
        assert connection.read(NOW) is None
        assert not connection.has_asked
    request, _ = exchange(connection, client, b"\n")
    assert request == Request("/livez")


def test_nothing_came_yet(connection):
    assert connection.read(NOW) is None
    assert not connection.is_over(NOW)


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"POST /livez HTTP/1.1\r\nContent-Length: 0\r\n\r\n", b"405"),
        (b"DELETE / HTTP/1.1\r\n\r\n", b"405"),
        (b"GET /livez\r\n\r\n", b"400"),
        (b"GET livez HTTP/1.1\r\n\r\n", b"400"),
        (b"GET / HTTP/2.0\r\n\r\n", b"400"),
        (b"\x16\x03\x01\x02\x00\x01\r\n\r\n", b"400"),
        (b"get / HTTP/1.1\r\n\r\n", b"400"),
        (b"GET /a b HTTP/1.1\r\n\r\n", b"400"),
    ],
)
def test_what_is_no_request_of_ours_is_refused(connection, client, data, status):
    request, answer = exchange(connection, client, data)
    assert request is None
    assert answer.startswith(b"HTTP/1.1 " + status)


def test_who_may_not_is_told_what_may_be(connection, client):
    _, answer = exchange(connection, client, b"PUT / HTTP/1.1\r\n\r\n")
    assert b"Allow: GET, HEAD\r\n" in answer


def test_a_request_that_breaks_off_is_refused(connection, client):
    client.sendall(b"GET / HT")
    connection.read(NOW)
    client.shutdown(socket.SHUT_WR)
    connection.read(NOW)
    connection.write(NOW)
    answer = received(client)
    assert answer.startswith(b"HTTP/1.1 400")


def test_a_request_that_never_ends_is_refused(connection, client):
    client.sendall(b"GET / HTTP/1.1\r\nX: " + b"x" * 10_000)
    for _ in range(4):
        connection.read(NOW)
    connection.write(NOW)
    assert received(client).startswith(b"HTTP/1.1 431")


def test_who_takes_too_long_to_ask_is_cut_off(connection):
    assert not connection.is_over(NOW + 4)
    assert connection.is_over(NOW + 5)


def test_who_has_asked_may_wait_for_the_answer(connection, client):
    client.sendall(b"GET / HTTP/1.1\r\n\r\n")
    request = connection.read(NOW + 4)
    assert connection.waits
    assert connection.has_asked
    # What else the client does is of no interest now.
    assert connection.events == 0
    assert connection.read(NOW + 5) is request
    assert not connection.is_over(NOW + 30)
    assert connection.is_over(NOW + 34)


def test_who_does_not_take_the_answer_is_cut_off(connection, client):
    client.sendall(b"GET / HTTP/1.1\r\n\r\n")
    connection.read(NOW)
    connection.answer(Response(200, b"x" * 10_000_000), NOW)
    connection.write(NOW)
    connection.write(NOW)
    assert not connection.waits
    assert connection.events
    assert connection.read(NOW) is None
    assert not connection.is_over(NOW + 9)
    assert connection.is_over(NOW + 10)


def test_a_long_answer_goes_out_piece_by_piece(connection, client):
    client.sendall(b"GET / HTTP/1.1\r\n\r\n")
    connection.read(NOW)
    connection.answer(Response(200, b"x" * 3_000_000), NOW)
    client.settimeout(0)
    taken = b""
    while connection.events != 1:
        connection.write(NOW)
        taken += client.recv(10_000_000)
    assert taken.endswith(b"\r\n\r\n" + b"x" * 3_000_000)


def test_what_comes_after_the_request_is_thrown_away(connection, client):
    exchange(connection, client, b"POST / HTTP/1.1\r\n\r\n" + b"body")
    client.sendall(b"more body")
    assert connection.read(NOW) is None
    assert connection.read(NOW) is None
    assert not connection.is_over(NOW)
    client.shutdown(socket.SHUT_WR)
    connection.read(NOW)
    assert connection.is_over(NOW)


def test_who_never_stops_sending_is_cut_off(connection, client):
    exchange(connection, client, b"GET / HTTP/1.1\r\n\r\n")
    assert connection.is_over(NOW + 1)


def test_a_refusal_says_what_and_why():
    found = refusal(404, "there is: /x", Extra="1")
    assert (found.status, found.body) == (404, b"Not Found: there is: /x\n")
    assert found.headers == {"Extra": "1"}
