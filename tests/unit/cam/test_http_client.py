"""Requests over HTTP to a real server that does what servers do."""

import socket
import threading

import pytest

from evtools.cam.http_client import HTTPClient, Unreachable, one_line
from evtools.errors import UsageError
from servers.ports import HOST, free_port
from tools.collector import Collector


@pytest.fixture
def collector():
    with Collector() as made:
        yield made


def test_a_connection_is_kept_and_made_anew_where_the_server_has_ended_it(collector):
    client = HTTPClient(f"{collector.url}/below/")
    answer = client.request("POST", "/x?a=1", b"one", {"X-Own": "yes"})
    assert (answer.status, answer.body, answer.is_whole) == (200, b"{}", True)
    kept = client._connection
    client.request("POST", "/x", b"two")
    assert client._connection is kept
    collector.go()
    collector.come()
    assert client.request("POST", "/x", b"three").status == 200
    assert [each.body for each in collector.requests] == [b"one", b"two", b"three"]
    assert collector.requests[0].path == "/below/x?a=1"
    assert collector.requests[0].headers["x-own"] == "yes"
    client.close()


def test_a_request_that_was_not_answered_is_not_sent_again_and_again(collector):
    client = HTTPClient(collector.url)
    collector.answers = [None] * 5
    with pytest.raises(Unreachable, match="it ended the connection without an answer"):
        client.request("POST", "/x")
    assert len(collector.requests) == 1
    client.close()


def test_a_server_that_sends_a_byte_now_and_then_does_not_hold_up_for_ever():
    with socket.create_server((HOST, 0)) as server:
        port = server.getsockname()[1]
        ended = threading.Event()

        def dribble():
            connection, _ = server.accept()
            with connection:
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n")
                while not ended.wait(0.05):
                    try:
                        connection.sendall(b"x")
                    except OSError:
                        return

        thread = threading.Thread(target=dribble)
        thread.start()
        try:
            with pytest.raises(Unreachable, match=r"no answer within 0\.3s"):
                HTTPClient(f"http://{HOST}:{port}", timeout=0.3).request("GET", "/")
        finally:
            ended.set()
            thread.join()


def test_an_answer_is_bounded(collector):
    client = HTTPClient(collector.url)
    collector.answers = [(200, {}, b"x" * 100)]
    answer = client.request("POST", "/", answer_max_bytes=10)
    assert (answer.body, answer.is_whole) == (b"x" * 10, False)
    assert client.request("POST", "/").body == b"{}"
    client.close()


def test_a_server_is_known_by_its_certificate(authority):
    with Collector(authority.server) as collector:
        client = HTTPClient(collector.url, ca=str(authority.ca))
        assert client.request("POST", "/", b"x").status == 200
        client.close()
        stranger = HTTPClient(collector.url, ca=str(authority.other))
        with pytest.raises(Unreachable, match="its certificate: ") as raised:
            stranger.request("POST", "/")
        assert raised.value.hint == "ca=FILE has the certificates that are trusted"
    with Collector() as plain:
        client = HTTPClient(plain.url.replace("http:", "https:"), ca=str(authority.ca))
        with pytest.raises(Unreachable, match="it does not speak TLS"):
            client.request("POST", "/")


def test_what_nobody_listens_at_cannot_be_reached():
    port = free_port()
    with pytest.raises(Unreachable, match=f"cannot reach http://{HOST}:{port}: Connection refused"):
        HTTPClient(f"http://me:secret@{HOST}:{port}").request("GET", "/")


@pytest.mark.parametrize(
    ("url", "options", "words"),
    [
        ("collector:4318", {}, "url: it is no URL of HTTP"),
        ("ftp://collector", {}, "url: it is no URL of HTTP"),
        ("http://", {}, "url: it is no URL of HTTP"),
        ("http://collector:99999", {}, "url: it is no URL of HTTP"),
        ("http://[::1", {}, "url: it is no URL of HTTP"),
        ("http://a b/", {}, "url: the name of its host cannot be one"),
        ("http://collector", {"ca": "x.pem"}, "certificates are for https only"),
        ("https://collector", {"ca": "/nowhere.pem"}, "ca: cannot read certificates from"),
        ("https://collector", {"ca": __file__}, "ca: cannot read certificates from"),
        ("https://collector", {"cert": __file__}, "cert: cannot read"),
    ],
)
def test_urls_and_files_that_cannot_be_used_are_refused(url, options, words):
    with pytest.raises(UsageError) as caught:
        HTTPClient(url, **options)
    assert caught.value.message.startswith(words)


def test_user_and_password_are_apart_from_the_address():
    client = HTTPClient("https://me:s%40crt@[::1]:8443/otlp/?x=1")
    assert (client.user, client.password) == ("me", "s@crt")
    assert (client.address, client.query) == ("https://[::1]:8443/otlp", "x=1")


def test_what_a_server_says_is_one_short_line():
    assert (
        one_line(b"no\n\n such \x1b[31mpassword=hunter2 \xff")
        == "no such \\x1b[31mpassword=** \ufffd"
    )
    assert len(one_line("x" * 10**6)) == 200
