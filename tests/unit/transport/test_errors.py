import errno
import socket
import ssl

import amqp.exceptions
import pytest
import redis.exceptions
import redis.sentinel
from redis._parsers.base import BaseParser

from evtools.errors import AccessRefused, BrokerUnavailable
from evtools.transport.errors import diagnose, explain
from evtools.transport.settings import ConnectionSettings

SETTINGS = ConnectionSettings(urls="redis://me:s3kr1t@broker-1:6379/0", source_of_url="-b flag")


def caused(error, cause):
    try:
        try:
            raise cause
        except type(cause) as reason:
            raise error from reason
    except type(error) as caught:
        return caught


def replied(text):
    """Return what redis-py makes of an error of the server."""
    return BaseParser.parse_error(text)


def of_openssl(reason):
    error = ssl.SSLError(1, f"[SSL: {reason}] words (_ssl.c:1)")
    error.reason = reason
    return error


REFUSED = [
    (amqp.exceptions.AccessRefused("ACCESS_REFUSED - Login was refused"), "login: Login"),
    (amqp.exceptions.AccessRefused("ACCESS_REFUSED - access to exchange"), "permission:"),
    (amqp.exceptions.NotAllowed("NOT_ALLOWED - vhost x not found"), "vhost x not found"),
    (amqp.exceptions.NotAllowed("NOT_ALLOWED - access to vhost '/'"), "vhost: access"),
    *[
        (amqp.exceptions.NotAllowed(f"NOT_ALLOWED - {text}"), text)
        for text in (
            "access to vhost 'v' refused for user 'x: connection limit (1) is reached'",
            "vhost connection limit (1) is reached not found",
        )
    ],
    (amqp.exceptions.ConnectionError("Couldn't find appropriate auth mechanism (can"), "login:"),
    (amqp.exceptions.PreconditionFailed("inequivalent arg 'type'"), "declaration: ineq"),
    (amqp.exceptions.InternalError("INTERNAL_ERROR - Feature `x` is deprecated."), "queue:"),
    (NotImplementedError("You need to install the `gssapi` module"), "login:"),
    (replied("ERR unknown command 'SENTINEL'"), "it is no Sentinel"),
    (replied("MOVED 866 127.0.0.1:7001"), "cluster:"),
    (redis.exceptions.ResponseError("MOVED 866 127.0.0.1:7001"), "cluster: MOVED"),
    (replied("CROSSSLOT keys do not hash"), "cluster:"),
    (replied("ERR SELECT is not allowed in cluster mode"), "cluster:"),
    (redis.exceptions.RedisClusterException("no nodes"), "cluster:"),
    (replied("WRONGPASS invalid password"), "login: invalid"),
    (redis.exceptions.ResponseError("WRONGPASS invalid"), "login:"),
    (redis.exceptions.ResponseError("NOAUTH required"), "login:"),
    (replied("NOAUTH Authentication required."), "login:"),
    (replied("ERR Only HELLO messages are accepted by Sentinel instances."), "it is a Sentinel"),
    (replied("NOPERM no permissions to run the 'client|setname' command"), "permission:"),
    (replied("NOPERM no 'psubscribe'"), "permission:"),
    (redis.exceptions.ResponseError("NOPERM no permission"), "permission:"),
    (replied("ERR DB index is out of range"), "database: DB index"),
    (replied("DENIED running in protected mode"), "login:"),
    (replied("ERR unknown command `hello`, with"), "no HELLO"),
    (of_openssl("WRONG_VERSION_NUMBER"), "TLS: it speaks none"),
    (of_openssl("TLSV13_ALERT_CERTIFICATE_REQUIRED"), "TLS: tlsv13 alert"),
]

UNAVAILABLE = [
    (redis.sentinel.MasterNotFoundError("no master of the name x"), "Sentinel: no master"),
    (ssl.SSLEOFError(8, "EOF occurred (_ssl.c:2427)"), "TLS: EOF occurred"),
    (socket.gaierror(-2, "Name or service not known"), "DNS: broker-1: Name or"),
    (
        UnicodeError("encoding with 'idna' codec failed (UnicodeError: label empty)"),
        "DNS: broker-1: it is no name of a host",
    ),
    (TimeoutError("_ssl.c:989: The handshake operation timed out"), "TLS: no answer"),
    (redis.exceptions.TimeoutError("Timeout connecting to server"), "TCP: no answer"),
    (redis.exceptions.TimeoutError("Timeout reading from socket"), "timeout: no answer"),
    (TimeoutError("timed out"), "timeout: no answer (--connect-timeout 4s)"),
    (ConnectionRefusedError(errno.ECONNREFUSED, "x"), "TCP: connection refused"),
    (ConnectionResetError(errno.ECONNRESET, "x"), "TCP: the broker closed"),
    (redis.exceptions.ConnectionError("Connection closed by server."), "TCP: Connection"),
    (redis.exceptions.InvalidResponse("Protocol error"), "does not speak Redis's"),
    (amqp.exceptions.UnexpectedFrame("x"), "it does not speak AMQP"),
    (amqp.exceptions.FrameSyntaxError("x"), "it does not speak AMQP"),
    (replied("CLUSTERDOWN Hash slot not served"), "cluster: Hash slot"),
    (replied("MASTERDOWN Link with MASTER is down"), "Link with MASTER is down"),
    (replied("READONLY You can't write against a replica"), "against a replica"),
    (replied("BUSY Redis is busy running a script"), "BUSY Redis"),
    (replied("ERR max number of clients reached"), "limit: max number of clients"),
    (amqp.exceptions.ConsumerCancelled("amq.ctag-x"), "queue: the broker deleted our"),
    (amqp.exceptions.ResourceLocked("RESOURCE_LOCKED - cannot obtain"), "cannot obtain"),
    (amqp.exceptions.InternalError("INTERNAL_ERROR - vhost '/' is down"), "is down"),
    *[
        (amqp.exceptions.NotAllowed(f"NOT_ALLOWED - {text}"), f"limit: {text}")
        for text in (
            "access to vhost ' not found': connection limit (1) is reached",
            "connection refused for user 'u': user connection limit (1) is reached",
            "connection refused for user 'u': node connection limit (1) is reached",
            "number of channels opened has reached the maximum allowed limit of (1)",
        )
    ],
    *[
        (amqp.exceptions.PreconditionFailed(f"PRECONDITION_FAILED - {text}"), text)
        for text in (
            "cannot declare queue 'q': queue limit in vhost 'v' (0) is reached",
            "cannot declare exchange 'e': exchange limit of 2 is reached",
        )
    ],
    (amqp.exceptions.ConnectionForced("CONNECTION_FORCED - shutdown"), "shutdown"),
    (FileNotFoundError(errno.ENOENT, "No such file"), "no such socket"),
    (OSError(errno.EHOSTUNREACH, "No route to host"), "TCP: No route to host"),
    (OSError("odd"), "TCP: odd"),
    (redis.exceptions.BusyLoadingError("loading the dataset"), "loading the dataset"),
    (redis.exceptions.RedisError("odd"), "odd"),
    (RuntimeError("odd"), "RuntimeError: odd"),
    (RuntimeError(), "RuntimeError: RuntimeError"),
]


@pytest.mark.parametrize(("error", "words"), REFUSED)
def test_what_trying_again_cannot_help_is_a_refusal(error, words):
    explained = explain(error, SETTINGS)
    assert type(explained) is AccessRefused
    assert explained.message.startswith("cannot use redis://me:**@broker-1:6379/0: ")
    assert words in explained.message
    assert explained.hint.startswith("tried: -b flag.")


@pytest.mark.parametrize(("error", "words"), UNAVAILABLE)
def test_what_may_pass_is_unavailability(error, words):
    explained = explain(error, SETTINGS)
    assert type(explained) is BrokerUnavailable
    assert explained.message.startswith("cannot reach redis://me:**@broker-1:6379/0: ")
    assert words in explained.message
    assert explained.exit_code == 69


def test_the_cause_counts_not_the_wrapping():
    error = caused(
        redis.exceptions.ConnectionError("Error 111 connecting to broker-1"),
        ConnectionRefusedError(errno.ECONNREFUSED, "refused"),
    )
    assert "TCP: connection refused" in explain(error, SETTINGS).message


def test_a_certificate_is_refused_with_the_reason_of_openssl():
    error = ssl.SSLCertVerificationError(1, "certificate verify failed")
    error.verify_message = "self-signed certificate"
    explained = explain(error, SETTINGS)
    assert isinstance(explained, AccessRefused)
    assert "TLS: self-signed certificate" in explained.message
    assert "--tls-ca" in explained.hint


def test_the_password_is_shown_nowhere():
    settings = ConnectionSettings(
        urls="amqp://u:s3kr1t%2Fx@h//",
        options={"sentinel_kwargs": {"password": "0ther"}, "token": "t0ken", "n": 1},
    )
    error = RuntimeError("s3kr1t/x and s3kr1t%2Fx and 0ther and t0ken\n and more")
    explained = explain(error, settings)
    assert explained.message == (
        "cannot reach amqp://u:**@h//: RuntimeError: ** and ** and ** and ** and more"
    )


def test_a_url_without_host_means_this_one():
    explained = explain(socket.gaierror(-3, "later"), ConnectionSettings(urls="amqp://"))
    assert "DNS: localhost: later" in explained.message


def test_an_endless_chain_of_causes_has_an_end():
    error = RuntimeError("outer")
    for number in range(20):
        error = caused(RuntimeError(str(number)), error)
    assert "RuntimeError: 19" in explain(error, SETTINGS).message


def test_a_diagnosis_names_the_layer_and_no_broker():
    told = diagnose(ConnectionRefusedError(111, "Connection refused"), SETTINGS)
    assert (told.layer, told.text, told.refused) == ("TCP", "connection refused", False)
    assert told.what == "TCP: connection refused"
    vhost = amqp.exceptions.NotAllowed("NOT_ALLOWED - vhost x not found")
    told = diagnose(vhost, SETTINGS)
    assert (told.layer, told.text, told.refused) == ("vhost", "vhost x not found", True)
    assert told.what == "vhost x not found"
    assert "slash" in told.hint
    assert diagnose(ValueError("odd: s3kr1t"), SETTINGS).text == "ValueError: odd: **"


#: Words that stand in what brokers and drivers say of a failure.
WORDS = (
    *("cluster", "login", "not found", "refused", "auth mechanism", "deprecated"),
    *("gssapi", "sentinel instances", "'sentinel'", "moved ", "required", "noauth"),
    *("wrongpass", "setname", "noperm", "db index", "protected mode", "closed by"),
    *("unknown command", "wrong_version", "alert", "handshake", "connecting"),
    *("channel", "denied", "readonly", "loading", "certificate", "limit", "ssl"),
)


@pytest.mark.parametrize("word", WORDS)
@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("Error 111 connecting to my-{}.svc:6379. refused.", "ConnectionError"),
        ("Error while reading from my-{}.svc:6379 : (5, 'x')", "ConnectionError"),
        ("Timeout reading from my-{}.svc:6379", "TimeoutError"),
    ],
)
def test_a_word_in_the_name_of_a_host_means_nothing_to_redis(word, text, kind):
    raised = [getattr(redis.exceptions, kind)(text.format(name)) for name in (word, "")]
    told, plain = (diagnose(error, SETTINGS) for error in raised)
    assert (told.layer, told.hint) == (plain.layer, plain.hint)
    assert told.refused is False


@pytest.mark.parametrize("word", WORDS)
@pytest.mark.parametrize(
    ("raised", "layer"),
    [
        (lambda w: replied(f"NOPERM User {w} has no permissions to run it"), "perm"),
        (lambda w: replied(f"ERR no {w}"), ""),
        (lambda w: OSError(5, f"no way to {w}"), "TCP"),
        (lambda w: TimeoutError(f"{w} took too long"), "timeout"),
        (
            lambda w: amqp.exceptions.AccessRefused(
                f"ACCESS_REFUSED - access to queue '{w}' in vhost '{w}' refused"
            ),
            "permission",
        ),
        (
            lambda w: amqp.exceptions.NotAllowed(
                f"NOT_ALLOWED - access to vhost '{w}' refused for user '{w}'"
            ),
            "vhost",
        ),
        (lambda w: amqp.exceptions.NotFound(f"NOT_FOUND - no queue '{w}'"), ""),
        (lambda w: ssl.SSLEOFError(8, f"EOF at {w}"), "TLS"),
    ],
)
def test_a_word_in_a_name_that_somebody_chose_means_nothing(word, raised, layer):
    told, plain = diagnose(raised(word), SETTINGS), diagnose(raised("x"), SETTINGS)
    assert (told.layer, told.hint) == (plain.layer, plain.hint)
    assert told.layer.startswith(layer)
    assert told.refused == plain.refused


def test_another_version_of_tls_is_not_taken_for_a_missing_certificate():
    told = diagnose(of_openssl("TLSV1_ALERT_PROTOCOL_VERSION"), SETTINGS)
    assert told.refused
    assert "versions of TLS" in told.hint
