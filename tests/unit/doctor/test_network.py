import socket
import ssl
from dataclasses import replace

import pytest

from evtools.doctor import network
from evtools.doctor.netprobe import Certificate, Endpoint
from evtools.doctor.network import check_kind, check_login, check_name, check_port, check_tls
from evtools.errors import UsageError
from evtools.transport import TLS
from servers.ports import HOST, free_port

CERTIFICATE = Certificate("me", "my CA", ("me.example",), 1000.0, 2000.0)


@pytest.fixture
def at(case):
    """Return a case that has come as far as these endpoints."""

    def make(*endpoints, **settings):
        made = case(**settings)
        made.opened = None
        made.endpoints = dict(enumerate(endpoints))
        return made

    return make


# --- kind --------------------------------------------------------------------------


def test_the_url_is_told_without_its_secrets(case, told):
    made = case(urls="redis://:hush@h/0;i", source_of_url="-b flag")
    ((severity, text),) = told(check_kind, made)
    assert severity == "ok"
    assert text == "redis://:**@h/0;redis://:**@i/0 (-b flag)\n"
    assert [place.host for place in made.endpoints.values()] == ["h", "i"]


@pytest.mark.parametrize("url", ["redis://h/x", "redis://h/0?colour=red"])
def test_what_cannot_work_is_refused_before_anybody_is_asked(case, told, url):
    with pytest.raises(UsageError):
        told(check_kind, case(urls=f"redis://h/0;{url}"))


def test_a_broker_without_events_is_refused(case, told):
    with pytest.raises(UsageError, match="SQS"):
        told(check_kind, case(urls="sqs://"))


# --- name and port -----------------------------------------------------------------


def test_names_are_looked_up(at, told):
    ((severity, text),) = told(check_name, at(Endpoint("localhost", 1)))
    assert (severity, "localhost is " in text) == ("ok", True)
    assert told(check_name, at(Endpoint(HOST, 1))) == [
        ("ok", f"{HOST} is an address, not a name\n")
    ]


def test_of_several_places_some_may_be_missing(at, told):
    made = at(Endpoint("broker.invalid", 1), Endpoint("localhost", 1))
    (severity, text), (good, _) = told(check_name, made)
    assert (severity, good) == ("warning", "ok")
    assert "broker.invalid has no address" in text
    assert list(made.endpoints) == [1]
    assert made.attempt == 1


def test_where_all_are_missing_that_is_a_problem(at, told):
    made = at(Endpoint("a.invalid", 1), Endpoint("b.invalid", 1))
    assert [severity for severity, _ in told(check_name, made)] == ["problem"] * 2
    assert made.endpoints == {}


def test_ports_are_open_or_closed(at, told, redis_server):
    ((severity, text),) = told(check_port, at(Endpoint(HOST, redis_server.port)))
    assert (severity, "is open" in text) == ("ok", True)
    ((severity, text),) = told(check_port, at(Endpoint(HOST, free_port())))
    assert (severity, "connection refused" in text) == ("problem", True)


def test_a_port_that_swallows_everything_is_told_from_a_closed_one(at, told):
    with socket.create_server((HOST, 0), backlog=0) as full:
        address = full.getsockname()
        # Nobody accepts, and there is room for one to wait.
        with socket.create_connection(address):
            place = Endpoint(HOST, address[1], connect_timeout=0.2)
            ((severity, text),) = told(check_port, at(place))
    assert severity == "problem"
    assert "does not answer within 0.2s" in text
    assert "firewall" in text


# --- TLS ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "severity"),
    [
        ("localhost", "ok"),
        ("127.0.0.2", "ok"),
        ("::1", "ok"),
        ("broker", "note"),
        ("10.0.0.1", "note"),
    ],
)
def test_without_encryption_it_matters_how_far_it_is(at, told, host, severity):
    ((found, text),) = told(check_tls, at(Endpoint(host, 1)))
    assert found == severity
    assert "not encrypted" in text


@pytest.mark.parametrize(
    ("now", "severity", "left"), [(0.0, "warning", "33m20s"), (-30 * 86400.0, "ok", "30d00h")]
)
def test_a_certificate_is_good_for_some_time(now, severity, left):
    finding = network.trusted(CERTIFICATE, now)
    assert finding.severity == severity
    assert finding.text == (f"certificate of me, signed by my CA, good for another {left}")


def test_a_certificate_is_looked_at_where_encryption_is_asked_for(
    at, told, authority, redis_server
):
    tls = TLS(enabled=True, ca=str(authority.ca), verify="required")
    made = at(Endpoint("localhost", redis_server.tls_port, tls))
    ((severity, text),) = told(check_tls, made)
    # By the clock of the test it is 1970.
    assert (severity, "signed by evtools test ca" in text) == ("ok", True)


def test_a_certificate_that_is_not_checked_is_a_warning(at, told, redis_server):
    tls = TLS(enabled=True, verify="none")
    ((severity, text),) = told(check_tls, at(Endpoint(HOST, redis_server.tls_port, tls)))
    assert (severity, "gets the password" in text) == ("warning", True)


def test_who_speaks_no_tls_is_a_problem(at, told, redis_server):
    place = Endpoint(HOST, redis_server.port, TLS(enabled=True, verify="required"), 1.0)
    ((severity, _),) = told(check_tls, at(place))
    assert severity == "problem"


@pytest.mark.parametrize(
    ("code", "now", "text"),
    [
        (9, 500.0, "is not valid before 8m20s from now"),
        (10, 2060.0, "expired 1m00s ago"),
        (18, 0.0, "signed by my CA, whom /ca.pem does not trust"),
        (62, 0.0, "is for me.example, and not for h"),
    ],
)
def test_what_is_wrong_with_a_certificate_is_told(code, now, text, monkeypatch):
    monkeypatch.setattr(network, "certificate_of", lambda _: CERTIFICATE)
    place = Endpoint("h", 1, TLS(enabled=True, ca="/ca.pem", verify="required"))
    said, advice = network.defect_of(code, place, now)
    assert text in said
    assert advice


def test_a_certificate_of_another_ca_is_a_problem(at, told, authority, redis_server):
    tls = TLS(enabled=True, ca=str(authority.other), verify="required")
    ((severity, text),) = told(check_tls, at(Endpoint("localhost", redis_server.tls_port, tls)))
    assert severity == "problem"
    assert f"signed by evtools test ca, whom {authority.other} does not trust" in text


@pytest.mark.parametrize("code", [10, 99])
def test_a_certificate_that_cannot_be_read_is_told_in_openssls_words(code):
    error = ssl.SSLCertVerificationError()
    error.verify_code, error.verify_message = code, "strange"
    finding = network._untrusted(error, Endpoint(HOST, free_port()), 0.0)
    assert (finding.severity, finding.text) == ("problem", "the certificate: strange")


# --- login -------------------------------------------------------------------------


def test_a_login_that_succeeds_opens_the_examination(at, told, redis_url):
    made = at(urls=redis_url)
    ((severity, text),) = told(check_login, made)
    assert (severity, "logged in to" in text) == ("ok", True)
    made.opened.close()


@pytest.mark.parametrize(
    ("url", "check"),
    [
        ("redis://operator:hush@{host}:{port}/0", "login"),
        ("redis://{host}:{port}/99999", "database"),
    ],
)
def test_a_login_that_fails_is_about_what_it_failed_for(at, redis_server, url, check):
    made = at(urls=url.format(host=HOST, port=redis_server.port))
    (finding,) = check_login(made)
    assert (finding.check, finding.severity) == (check, "problem")
    assert "hush" not in finding.text


def test_a_port_where_nobody_speaks(at):
    with socket.create_server((HOST, 0)) as silent:
        port = silent.getsockname()[1]
        made = at(
            Endpoint(HOST, port, connect_timeout=0.2),
            urls=f"amqp://{HOST}:{port}//",
            connect_timeout=0.2,
        )
        (finding,) = check_login(made)
    assert finding.check == "answer"
    assert "no answer from a broker" in finding.text


@pytest.mark.parametrize(
    ("scheme", "speaker", "text", "advice"),
    [
        ("amqp", "redis", "speaks the protocol of Redis", "redis://"),
        ("redis", "rabbitmq", "speaks AMQP", "amqp://"),
    ],
)
def test_a_port_of_another_kind_of_broker(at, request, scheme, speaker, text, advice):
    port = request.getfixturevalue(f"{speaker}_server").port
    place = Endpoint(HOST, port, connect_timeout=1.0, protocol=scheme)
    made = at(place, urls=f"{scheme}://{HOST}:{port}/0", connect_timeout=1.0)
    (finding,) = check_login(made)
    assert (finding.check, finding.severity) == ("answer", "problem")
    assert finding.text.endswith(text)
    assert advice in finding.advice


def test_a_port_of_the_right_kind_without_tls(at, told, redis_server):
    tls = TLS(enabled=True, verify="required")
    place = Endpoint(HOST, redis_server.port, tls, 1.0, protocol="redis")
    ((_, text),) = told(check_tls, at(place))
    assert "speaks the protocol of Redis without TLS\nUse redis://" in text


def test_who_speaks_as_we_do_is_no_stranger(redis_server):
    place = Endpoint(HOST, redis_server.port, protocol="redis")
    assert network._not_ours(place) is None


@pytest.mark.parametrize(
    ("with_ours", "text"),
    [(False, "the broker wants a certificate of us"), (True, "broken off after the certificate")],
)
def test_a_broker_that_takes_our_certificate_for_none(
    at, authority, redis_mutual_tls, with_ours, text
):
    tls = TLS(enabled=True, ca=str(authority.ca), verify="required")
    if with_ours:
        # Of an authority that the broker does not know.
        other = str(authority.other)
        tls = replace(tls, cert=other, key=other.replace(".pem", ".key"))
    port = redis_mutual_tls.tls_port
    made = at(
        Endpoint("localhost", port, tls, protocol="redis"),
        urls=f"rediss://localhost:{port}/0",
        tls=tls,
    )
    (finding,) = check_login(made)
    assert finding.check == "tls"
    assert text in finding.text


def test_a_virtual_host_that_is_not_for_us_comes_with_what_to_type(at, rabbitmq_server):
    url = rabbitmq_server.vhost_url("", user="nobody", password="nobody-secret")
    (finding,) = check_login(at(urls=url))
    assert finding.check == "vhost"
    assert "\n  rabbitmqctl set_permissions -p / nobody " in finding.advice


def test_a_port_that_wants_tls(at, redis_server):
    place = Endpoint(HOST, redis_server.tls_port, connect_timeout=1.0)
    made = at(place, urls=f"redis://{HOST}:{redis_server.tls_port}/0")
    (finding,) = check_login(made)
    assert finding.check == "tls"
    assert "speaks TLS, and we do not" in finding.text
    (finding,) = check_login(replace_places(made))
    assert finding.check != "tls"


def replace_places(made):
    """Return the case without any endpoints, as with brokers that have no port."""
    return replace(made, endpoints={})
