import socket
import ssl
import threading
from contextlib import contextmanager, suppress
from dataclasses import replace

import pytest
from amqp.exceptions import NotAllowed

from evtools.doctor.context import Endpoint
from evtools.doctor.inspect import OrphanedQueue
from evtools.doctor.inspect.amqp import AMQPInspector
from evtools.doctor.network import check_kind, check_login, check_name, check_port, check_tls
from evtools.errors import UsageError
from evtools.transport import TLS
from evtools.transport.errors import diagnose
from servers.ports import HOST, free_port


@pytest.fixture
def at(case):
    """Return a context that has come as far as these endpoints."""

    def make(*found, **settings):
        made = case(**settings)
        made.opened = None
        made.endpoints = dict(enumerate(found))
        return made

    return make


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


@pytest.mark.parametrize(("urls", "found"), [
    ("redis://h/0", [("h", 6379, False, "redis")]), ("rediss://h:1/0", [("h", 1, True, "redis")]),
    ("amqp://", [("localhost", 5672, False, "amqp")]),
    ("amqps://h//", [("h", 5671, True, "amqp")]),
    ("sentinel://h", [("h", 26379, False, "redis")]),
    ("amqp://a//;amqp://b:7//", [("a", 5672, False, "amqp"), ("b", 7, False, "amqp")]),
    ("memory://", []), ("redis+socket:///run/redis.sock", []),
])  # fmt: skip
def test_every_address_has_its_endpoint_with_the_usual_port(case, told, urls, found):
    made = case(urls=urls)
    options = {"master_name": "m"} if urls.startswith("sentinel") else {}
    made.settings = replace(made.settings, options=options)
    told(check_kind, made)
    ends = made.endpoints.values()
    assert [(end.host, end.port, end.tls is not None, end.protocol) for end in ends] == found
    with pytest.raises(UsageError, match="--tls-ca"):
        told(check_kind, case(urls="rediss://h", tls=TLS(ca="/nowhere")))


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


def test_names_that_have_no_address_in_time_are_errors(at, told, monkeypatch):
    ((_, text),) = told(check_name, at(Endpoint("x" * 70 + ".example", 1)))
    assert "it is no name of a host" in text
    ended = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: ended.wait() or [])
    ((_, text),) = told(check_name, at(Endpoint("slow.example", 1, connect_timeout=0.05)))
    assert "no answer in 0.05s" in text
    ended.set()


def test_the_next_address_of_a_name_is_tried(at, told, monkeypatch):
    with socket.create_server((HOST, 0)) as server:
        good = (socket.AF_INET, socket.SOCK_STREAM, 0, "", server.getsockname())
        bad = (socket.AF_INET, socket.SOCK_STREAM, 0, "", (HOST, free_port()))
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [bad, good])
        assert told(check_port, at(Endpoint("any", 1))) == [("ok", "port 1 of any is open\n")]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [])
    ((_, text),) = told(check_port, at(Endpoint("none", 1)))
    assert "it has no address" in text


# --- TLS ---------------------------------------------------------------------------


def test_without_encryption_it_matters_how_far_it_is(at, told):
    hosts = ("localhost", "127.0.0.2", "::1", "broker", "10.0.0.1")
    found = told(check_tls, at(*(Endpoint(host, 1) for host in hosts)))
    assert [severity for severity, _ in found] == ["ok", "ok", "ok", "note", "note"]
    assert all("not encrypted" in text for _, text in found)


@pytest.fixture
def secure():
    """Start a port that shows a certificate; return its endpoint."""
    servers = []

    def serve(server, context):
        with suppress(OSError):
            while True:
                sock = server.accept()[0]
                with suppress(OSError), sock, context.wrap_socket(sock, server_side=True) as made:
                    made.recv(1)

    def make(certificate, ca, **options):
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(certificate.cert, certificate.key)
        servers.append(socket.create_server((HOST, 0)))
        threading.Thread(target=serve, args=(servers[-1], context), daemon=True).start()
        options = {"verify": "required", "check_hostname": True, "ca": str(ca), **options}
        tls = TLS(enabled=True, **options)
        return Endpoint("localhost", servers[-1].getsockname()[1], tls)

    yield make
    for server in servers:
        server.close()


def test_a_certificate_that_nobody_checks_is_a_warning(at, told, secure, authority):
    ((severity, text),) = told(check_tls, at(secure(authority.server, "", verify="none")))
    assert (severity, "gets the password" in text) == ("warning", True)


@pytest.mark.parametrize(("code", "text"), [
    (9, "is not valid before"), (10, "expired"), (99, "the certificate: strange"),
])  # fmt: skip
@pytest.mark.parametrize("is_shown", [True, False])
def test_a_certificate_that_cannot_be_read_is_described_in_openssls_words(
    at, told, secure, authority, monkeypatch, code, text, is_shown
):
    end = secure(authority.server, authority.ca)
    error = ssl.SSLCertVerificationError()
    error.verify_code, error.verify_message = code, "strange"
    wrap = ssl.SSLContext.wrap_socket

    def distrust(context, sock, **options):
        if context.check_hostname or not is_shown:
            raise error
        return wrap(context, sock, **options)

    monkeypatch.setattr(ssl.SSLContext, "wrap_socket", distrust)
    ((severity, said),) = told(check_tls, at(end))
    assert severity == "problem"
    assert (text if is_shown else "the certificate: strange") in said


# --- what is spoken, and the login -----------------------------------------------------


@contextmanager
def speaker(answer):
    """Answer whoever comes; yield the port."""
    with socket.create_server((HOST, 0)) as server:

        def speak():
            with suppress(OSError):
                while True:
                    with server.accept()[0] as sock:
                        sock.recv(64)
                        sock.sendall(answer)

        threading.Thread(target=speak, daemon=True).start()
        yield server.getsockname()[1]


@pytest.mark.parametrize(("answer", "scheme", "says"), [
    (b"HTTP/1.1 400 Bad Request\r\n", "redis", "speaks HTTP\nRabbitMQ has its pages"),
    (b"HTTP/1.1 400 Bad Request\r\n", "rediss", "speaks HTTP without TLS"),
    (b"-DENIED Redis is running in protected mode", "amqp", "speaks the protocol of Redis\nUse"),
    (b"AMQP\x00\x00\x09\x01", "redis", "speaks AMQP\nUse amqp://"),
    (b"220 mail.example ESMTP\r\n", "redis", ""), (b"", "amqp", ""),
])  # fmt: skip
def test_a_protocol_is_known_by_its_first_bytes(case, told, answer, scheme, says):
    with speaker(answer) as port:
        made = case(urls=f"{scheme}://{HOST}:{port}/0", connect_timeout=1.0)
        made.opened = None
        told(check_kind, made)
        found = told(check_tls if scheme == "rediss" else check_login, made)
    ((severity, text),) = found
    assert severity == "problem"
    assert says in text
    assert bool(says) == (f"port {port} of {HOST} speaks" in text)


def test_of_a_broker_that_only_kombu_knows_little_is_claimed(at):
    made = at(urls="memory://", event_exchange="blue")
    (finding,) = check_login(made)
    assert finding.text == "logged in to memory"
    inspector = made.inspector
    inspector.begin()
    assert inspector.exchange().where == "exchange blue"
    assert inspector.has_mailboxes()
    assert inspector.permissions() == inspector.elsewhere() == []
    assert "cannot be asked" in inspector.orphans(["x"]).gap
    assert "not ours" in inspector.remove(OrphanedQueue("queue", "x"))
    inspector.close()


@pytest.mark.parametrize(("text", "command"), [
    ("vhost staging not found", "rabbitmqctl -q list_vhosts"),
    ("vhost 'staging' is down", "rabbitmqctl restart_vhost -p /"), ("", ""),
])  # fmt: skip
def test_against_other_failures_no_right_helps(at, text, command):
    settings = at(urls="amqp://x@h//").settings
    error = NotAllowed(f"NOT_ALLOWED - {text}") if text else ConnectionRefusedError()
    assert AMQPInspector.remedy(diagnose(error, settings), settings) == command
