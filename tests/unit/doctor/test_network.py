import math
import socket
import ssl
import threading
from contextlib import contextmanager, suppress
from dataclasses import replace

import pytest

from evtools.doctor import network
from evtools.doctor.netprobe import (
    Certificate,
    Endpoint,
    certificate_of,
    endpoints,
    handshake,
    open_socket,
    resolve,
    speaks_tls,
    spoken,
)
from evtools.doctor.network import check_kind, check_login, check_name, check_port, check_tls
from evtools.errors import UsageError
from evtools.transport import TLS, ConnectionSettings
from servers.ports import HOST, free_port

CERTIFICATE = Certificate("me", "my CA", ("me.example",), 1000.0, 2000.0)


@pytest.fixture
def at(case):
    """Return a context that has come as far as these endpoints."""

    def make(*found, **settings):
        made = case(**settings)
        made.opened = None
        made.endpoints = dict(enumerate(found))
        return made

    return make


@pytest.fixture
def secure(redis_server, authority):
    tls = TLS(enabled=True, ca=str(authority.ca), verify="required", check_hostname=True)
    return Endpoint("localhost", redis_server.tls_port, tls)


# --- kind --------------------------------------------------------------------------


def test_the_url_is_shown_without_its_secrets(case, told):
    made = case(urls="redis://:hush@h/0;i", source_of_url="-b flag")
    assert told(check_kind, made) == [("ok", "redis://:**@h/0;redis://:**@i/0 (-b flag)\n")]
    assert [endpoint.host for endpoint in made.endpoints.values()] == ["h", "i"]
    assert made.attempt == 0


@pytest.mark.parametrize("url", ["redis://h/0;redis://h/x", "redis://h/0?colour=red", "sqs://"])
def test_what_cannot_work_is_refused_before_anything_is_connected(case, told, url):
    with pytest.raises(UsageError):
        told(check_kind, case(urls=url))


@pytest.mark.parametrize(
    ("urls", "found"),
    [
        ("redis://h/0", [("h", 6379, False, "redis")]),
        ("rediss://h:1/0", [("h", 1, True, "redis")]),
        ("amqp://", [("localhost", 5672, False, "amqp")]),
        ("amqps://h//", [("h", 5671, True, "amqp")]),
        ("sentinel://h", [("h", 26379, False, "redis")]),
        ("amqp://a//;amqp://b:7//", [("a", 5672, False, "amqp"), ("b", 7, False, "amqp")]),
        ("memory://", []),
        ("redis+socket:///run/redis.sock", []),
    ],
)
def test_every_address_has_its_endpoint_with_the_usual_port(urls, found):
    settings = ConnectionSettings(urls=urls, options={"master_name": "m"})
    made = [(e.host, e.port, e.tls is not None, e.protocol) for e in endpoints(settings)]
    assert made == found
    with pytest.raises(UsageError, match="--tls-ca"):
        endpoints(ConnectionSettings(urls="rediss://h", tls=TLS(ca="/nowhere")))


# --- name and port -----------------------------------------------------------------


def test_of_several_names_some_may_be_missing(at, told):
    made = at(Endpoint("broker.invalid", 1), Endpoint("localhost", 1), Endpoint(HOST, 1))
    (severity, text), (good, named), (_, address) = told(check_name, made)
    assert (severity, good) == ("warning", "ok")
    assert "broker.invalid has no address" in text
    assert "\nCheck the spelling and this host's DNS:\n  getent hosts broker.invalid" in text
    assert "localhost is " in named
    assert address == f"{HOST} is an address, not a name\n"
    assert list(made.endpoints) == [1, 2]
    assert made.attempt == 1


def test_where_all_are_missing_that_is_a_problem(at, told):
    made = at(Endpoint("a.invalid", 1), Endpoint("b.invalid", 1))
    assert [severity for severity, _ in told(check_name, made)] == ["problem"] * 2
    assert made.endpoints == {}


def test_names_that_have_no_address_in_time_are_errors(monkeypatch):
    with pytest.raises(socket.gaierror, match="no name of a host"):
        resolve(Endpoint("x" * 70 + ".example", 1))
    ended = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: ended.wait() or [])
    with pytest.raises(socket.gaierror, match=r"no answer in 0\.05s"):
        resolve(Endpoint("slow.example", 1, connect_timeout=0.05))
    ended.set()


def test_the_next_address_of_a_name_is_tried(monkeypatch, redis_server):
    good = (socket.AF_INET, socket.SOCK_STREAM, 0, "", (HOST, redis_server.port))
    bad = (socket.AF_INET, socket.SOCK_STREAM, 0, "", (HOST, free_port()))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [bad, good])
    with open_socket(Endpoint("any", 1)) as sock:
        assert sock.getpeername() == (HOST, redis_server.port)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [])
    with pytest.raises(socket.gaierror, match="no address"):
        open_socket(Endpoint("none", 1))


def test_ports_are_open_or_closed_or_swallow_everything(at, told, redis_server):
    ((severity, text),) = told(check_port, at(Endpoint(HOST, redis_server.port)))
    assert (severity, "is open" in text) == ("ok", True)
    ((severity, text),) = told(check_port, at(Endpoint(HOST, free_port())))
    assert (severity, "connection refused" in text) == ("problem", True)
    with socket.create_server((HOST, 0), backlog=0) as full:
        address = full.getsockname()
        # Nobody accepts, and there is room for one to wait.
        with socket.create_connection(address):
            endpoint = Endpoint(HOST, address[1], connect_timeout=0.2)
            ((severity, text),) = told(check_port, at(endpoint))
    assert severity == "problem"
    assert "does not answer within 0.2s" in text
    assert "firewall" in text


# --- TLS ---------------------------------------------------------------------------


def test_without_encryption_it_matters_how_far_it_is(at, told):
    hosts = ("localhost", "127.0.0.2", "::1", "broker", "10.0.0.1")
    found = told(check_tls, at(*(Endpoint(host, 1) for host in hosts)))
    assert [severity for severity, _ in found] == ["ok", "ok", "ok", "note", "note"]
    assert all("not encrypted" in text for _, text in found)


@pytest.mark.parametrize(
    ("now", "severity", "left"), [(0.0, "warning", "33m20s"), (-30 * 86400.0, "ok", "30d00h")]
)
def test_a_certificate_is_good_for_some_time(now, severity, left):
    finding = network.trusted(CERTIFICATE, now)
    assert finding.severity == severity
    assert finding.text == f"certificate of me, signed by my CA, good for another {left}"


def test_a_certificate_is_looked_at_where_encryption_is_asked_for(at, told, secure, authority):
    ((severity, text),) = told(check_tls, at(secure))
    # By the clock of the test it is 1970.
    assert (severity, "signed by evtools test ca" in text) == ("ok", True)
    certificate = handshake(secure)
    assert (certificate.subject, certificate.names) == ("server", ("localhost", HOST))
    assert certificate.not_after - certificate.not_before == 86400.0
    unchecked = replace(secure, tls=TLS(enabled=True, verify="none"))
    ((severity, text),) = told(check_tls, at(unchecked))
    assert (severity, "gets the password" in text) == ("warning", True)
    assert math.isnan(handshake(unchecked).not_after)


def test_a_certificate_of_another_ca_is_a_problem(at, told, secure, authority):
    distrusting = replace(secure, tls=replace(secure.tls, ca=str(authority.other)))
    ((severity, text),) = told(check_tls, at(distrusting))
    assert severity == "problem"
    assert f"signed by evtools test ca, whom {authority.other} does not trust" in text


def test_an_expired_certificate_can_be_read(start_redis, authority, secure):
    server = start_redis(authority=replace(authority, server=authority.expired))
    endpoint = replace(secure, port=server.tls_port)
    with pytest.raises(ssl.SSLCertVerificationError, match="expired"):
        handshake(endpoint)
    shown = certificate_of(endpoint)
    assert shown.subject == "expired"
    assert shown.not_after < shown.not_before


def distrust(code):
    error = ssl.SSLCertVerificationError()
    error.verify_code, error.verify_message = code, "strange"
    return error


@pytest.mark.parametrize(
    ("code", "now", "text"),
    [
        (9, 500.0, "is not valid before 8m20s from now"),
        (10, 2060.0, "expired 1m00s ago"),
        (18, 0.0, "signed by my CA, whom /ca.pem does not trust"),
        (62, 0.0, "is for me.example, and not for h"),
    ],
)
def test_the_defect_of_a_certificate_is_named(code, now, text, monkeypatch):
    monkeypatch.setattr(network, "certificate_of", lambda _: CERTIFICATE)
    endpoint = Endpoint("h", 1, TLS(enabled=True, ca="/ca.pem", verify="required"))
    finding = network.untrusted(distrust(code), endpoint, now)
    assert text in finding.text
    assert finding.advice


@pytest.mark.parametrize("code", [10, 99])
def test_a_certificate_that_cannot_be_read_is_described_in_openssls_words(code):
    finding = network.untrusted(distrust(code), Endpoint(HOST, free_port()), 0.0)
    assert (finding.severity, finding.text) == ("problem", "the certificate: strange")


# --- what is spoken ------------------------------------------------------------------


@contextmanager
def speaker(answer):
    """Answer whoever comes, once; yield the endpoint."""
    with socket.create_server((HOST, 0)) as server:

        def speak():
            with suppress(OSError), server.accept()[0] as sock:
                sock.recv(64)
                sock.sendall(answer)

        thread = threading.Thread(target=speak)
        thread.start()
        yield Endpoint(HOST, server.getsockname()[1], connect_timeout=2.0)
        thread.join()


@pytest.mark.parametrize(
    ("answer", "protocol"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n", "http"),
        (b"-DENIED Redis is running in protected mode", "redis"),
        (b"220 mail.example ESMTP", ""),
        (b"", ""),
    ],
)
def test_a_protocol_is_known_by_its_first_bytes(answer, protocol):
    with speaker(answer) as endpoint:
        assert spoken(endpoint) == protocol


def test_real_brokers_say_what_they_speak(redis_server, redis_acl, rabbitmq_server, secure):
    assert spoken(Endpoint(HOST, redis_server.port)) == "redis"
    assert spoken(Endpoint(HOST, redis_acl.port)) == "redis"
    assert spoken(Endpoint(HOST, rabbitmq_server.port)) == "amqp"
    assert speaks_tls(secure)
    assert not speaks_tls(Endpoint(HOST, redis_server.port, connect_timeout=1.0))
    with socket.create_server((HOST, 0)) as silent:
        endpoint = Endpoint(HOST, silent.getsockname()[1], connect_timeout=0.1)
        assert spoken(endpoint) == ""
    assert spoken(Endpoint(HOST, free_port())) == ""
    assert not speaks_tls(Endpoint(HOST, free_port()))


# --- login -------------------------------------------------------------------------


def test_a_login_that_succeeds_opens_the_inspector(at, told, redis_url):
    made = at(urls=redis_url)
    ((severity, text),) = told(check_login, made)
    assert (severity, "logged in to Redis" in text) == ("ok", True)
    made.opened.close()


@pytest.mark.parametrize(
    ("url", "check"),
    [
        ("redis://operator:hush@{host}:{port}/0", "login"),
        ("redis://{host}:{port}/99999", "database"),
    ],
)
def test_a_login_that_fails_is_about_its_cause(at, redis_server, url, check):
    (finding,) = check_login(at(urls=url.format(host=HOST, port=redis_server.port)))
    assert (finding.check, finding.severity) == (check, "problem")
    assert "hush" not in finding.text


@pytest.mark.parametrize(
    ("scheme", "speaker", "text", "advice"),
    [
        ("amqp", "redis", "speaks the protocol of Redis", "redis://"),
        ("redis", "rabbitmq", "speaks AMQP", "amqp://"),
    ],
)
def test_a_port_of_another_kind_of_broker(at, request, scheme, speaker, text, advice):
    port = request.getfixturevalue(f"{speaker}_server").port
    endpoint = Endpoint(HOST, port, connect_timeout=1.0, protocol=scheme)
    made = at(endpoint, urls=f"{scheme}://{HOST}:{port}/0", connect_timeout=1.0)
    (finding,) = check_login(made)
    assert (finding.check, finding.severity) == ("answer", "problem")
    assert finding.text.endswith(text)
    assert advice in finding.advice


def test_a_port_of_the_right_kind_with_and_without_tls(at, told, redis_server):
    tls = TLS(enabled=True, verify="required")
    plain = Endpoint(HOST, redis_server.port, tls, 1.0, protocol="redis")
    ((_, text),) = told(check_tls, at(plain))
    assert "speaks the protocol of Redis without TLS\nUse redis://" in text
    wrapped = Endpoint(HOST, redis_server.tls_port, connect_timeout=1.0)
    made = at(wrapped, urls=f"redis://{HOST}:{redis_server.tls_port}/0")
    (finding,) = check_login(made)
    assert finding.check == "tls"
    assert "speaks TLS, and we do not" in finding.text
    made.endpoints = {}
    (finding,) = check_login(made)
    assert finding.check != "tls"


@pytest.mark.parametrize(
    ("with_ours", "text"),
    [(False, "the broker wants a certificate of us"), (True, "broken off after the certificate")],
)
def test_a_broker_that_does_not_accept_our_certificate(
    at, authority, redis_mutual_tls, with_ours, text
):
    tls = TLS(enabled=True, ca=str(authority.ca), verify="required")
    if with_ours:
        # Of an authority that the broker does not know.
        other = str(authority.other)
        tls = replace(tls, cert=other, key=other.replace(".pem", ".key"))
    port = redis_mutual_tls.tls_port
    endpoint = Endpoint("localhost", port, tls, protocol="redis")
    (finding,) = check_login(at(endpoint, urls=f"rediss://localhost:{port}/0", tls=tls))
    assert finding.check == "tls"
    assert text in finding.text


def test_a_virtual_host_that_is_not_for_us_comes_with_the_command(at, rabbitmq_server):
    url = rabbitmq_server.vhost_url("", user="nobody", password="nobody-secret")
    (finding,) = check_login(at(urls=url))
    assert finding.check == "vhost"
    assert "\n  rabbitmqctl set_permissions -p / nobody " in finding.advice
