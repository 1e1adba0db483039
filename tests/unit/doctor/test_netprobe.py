import math
import socket
import ssl
import threading
from contextlib import contextmanager, suppress
from dataclasses import replace

import pytest

from evtools.doctor.netprobe import (
    Endpoint,
    certificate_of,
    endpoints,
    handshake,
    open_socket,
    resolve,
    speaks_tls,
    spoken,
)
from evtools.errors import UsageError
from evtools.transport import TLS, ConnectionSettings
from servers.ports import HOST, free_port


def found(urls, **settings):
    return [
        (place.host, place.port, place.tls is not None)
        for place in endpoints(ConnectionSettings(urls=urls, **settings))
    ]


@pytest.fixture
def secure(redis_server, authority):
    tls = TLS(enabled=True, ca=str(authority.ca), verify="required", check_hostname=True)
    return Endpoint("localhost", redis_server.tls_port, tls)


# --- endpoints ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("urls", "where"),
    [
        ("redis://h/0", ("h", 6379, False)),
        ("rediss://h:1/0", ("h", 1, True)),
        ("amqp://", ("localhost", 5672, False)),
        ("amqps://h//", ("h", 5671, True)),
        ("sentinel://h", ("h", 26379, False)),
    ],
)
def test_the_place_of_an_address_has_the_usual_port(urls, where):
    options = {"master_name": "m"}
    assert found(urls, options=options) == [where]


def test_every_address_of_a_list_has_its_place():
    assert found("amqp://a//;amqp://b:7//") == [("a", 5672, False), ("b", 7, False)]


@pytest.mark.parametrize("urls", ["memory://", "redis+socket:///run/redis.sock"])
def test_without_host_and_port_there_is_no_place(urls):
    assert found(urls) == []


def test_tls_files_that_are_no_good_are_refused():
    with pytest.raises(UsageError, match="--tls-ca"):
        found("rediss://h", tls=TLS(ca="/nowhere"))


# --- name and port -----------------------------------------------------------------


def test_a_host_has_addresses():
    assert "127.0.0.1" in resolve(Endpoint("localhost", 1))


def test_a_name_that_nobody_knows_is_an_error():
    with pytest.raises(socket.gaierror):
        resolve(Endpoint("broker.invalid", 1))


def test_a_name_that_can_be_none_is_an_error_of_the_resolver():
    with pytest.raises(socket.gaierror, match="no name of a host"):
        resolve(Endpoint("x" * 70 + ".example", 1))


def test_a_resolver_that_takes_too_long_is_an_error(monkeypatch):
    ended = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: ended.wait() or [])
    with pytest.raises(socket.gaierror, match=r"no answer in 0\.05s"):
        resolve(Endpoint("slow.example", 1, connect_timeout=0.05))
    ended.set()


def test_the_next_address_is_tried(monkeypatch, redis_server):
    good = (socket.AF_INET, socket.SOCK_STREAM, 0, "", (HOST, redis_server.port))
    bad = (socket.AF_INET, socket.SOCK_STREAM, 0, "", (HOST, free_port()))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [bad, good])
    with open_socket(Endpoint("any", 1)) as sock:
        assert sock.getpeername() == (HOST, redis_server.port)


def test_a_closed_port_is_an_error():
    with pytest.raises(ConnectionRefusedError):
        open_socket(Endpoint(HOST, free_port()))


def test_a_host_without_any_address_is_an_error(monkeypatch):
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [])
    with pytest.raises(socket.gaierror, match="no address"):
        open_socket(Endpoint("none", 1))


# --- certificates ------------------------------------------------------------------


def test_a_trusted_certificate_is_read(secure):
    certificate = handshake(secure)
    assert certificate.subject == "server"
    assert certificate.issuer == "evtools test ca"
    assert certificate.names == ("localhost", HOST)
    assert certificate.not_after - certificate.not_before == 86400.0


def test_a_certificate_of_another_ca_is_refused(secure, authority):
    place = replace(secure, tls=replace(secure.tls, ca=str(authority.other)))
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(place)
    shown = certificate_of(place)
    assert (shown.subject, shown.issuer) == ("server", "evtools test ca")


def test_without_a_check_nothing_is_known_of_the_certificate(secure):
    place = replace(secure, tls=replace(secure.tls, verify="none"))
    assert math.isnan(handshake(place).not_after)


def test_our_own_certificate_is_shown(redis_mutual_tls, authority, secure):
    client = authority.client
    tls = replace(secure.tls, cert=str(client.cert), key=str(client.key))
    place = Endpoint("localhost", redis_mutual_tls.tls_port, tls)
    assert handshake(place).subject == "server"


def test_an_expired_certificate_can_be_read(start_redis, authority, secure):
    server = start_redis(authority=replace(authority, server=authority.expired))
    place = replace(secure, port=server.tls_port)
    with pytest.raises(ssl.SSLCertVerificationError, match="expired"):
        handshake(place)
    shown = certificate_of(place)
    assert shown.subject == "expired"
    assert shown.not_after < shown.not_before


def test_who_speaks_tls_is_known(secure, redis_server):
    assert speaks_tls(secure)
    assert not speaks_tls(Endpoint(HOST, redis_server.port, connect_timeout=1.0))
    assert not speaks_tls(Endpoint(HOST, free_port()))


# --- what is spoken ------------------------------------------------------------------


@contextmanager
def speaker(answer):
    """Answer whoever comes, once; yield the place."""
    with socket.create_server((HOST, 0)) as server:

        def speak():
            with suppress(OSError), server.accept()[0] as sock:
                sock.recv(64)
                sock.sendall(answer)

        thread = threading.Thread(target=speak)
        thread.start()
        yield Endpoint(HOST, server.getsockname()[1], connect_timeout=2.0)
        thread.join()


def test_real_brokers_say_what_they_speak(redis_server, redis_acl, rabbitmq_server):
    assert spoken(Endpoint(HOST, redis_server.port)) == "redis"
    assert spoken(Endpoint(HOST, redis_acl.port)) == "redis"
    assert spoken(Endpoint(HOST, rabbitmq_server.port)) == "amqp"


@pytest.mark.parametrize(
    ("answer", "protocol"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n", "http"),
        (b"-DENIED Redis is running in protected mode", "redis"),
        (b"220 mail.example ESMTP", ""),
        (b"", ""),
    ],
)
def test_what_others_speak_is_known_by_how_they_begin(answer, protocol):
    with speaker(answer) as place:
        assert spoken(place) == protocol


def test_who_is_silent_or_not_there_speaks_nothing():
    with socket.create_server((HOST, 0)) as silent:
        place = Endpoint(HOST, silent.getsockname()[1], connect_timeout=0.1)
        assert spoken(place) == ""
    assert spoken(Endpoint(HOST, free_port())) == ""


@pytest.mark.parametrize(
    ("url", "protocol"), [("redis://h", "redis"), ("amqps://h", "amqp"), ("sentinel://h", "redis")]
)
def test_a_place_says_what_we_mean_to_speak(url, protocol):
    settings = ConnectionSettings(urls=url, options={"master_name": "m"})
    assert [place.protocol for place in endpoints(settings)] == [protocol]
