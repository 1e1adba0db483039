import errno
import socket
import ssl

import amqp.exceptions
import pytest
import redis.exceptions
import redis.sentinel
from redis._parsers.base import BaseParser

from evtools.errors import AccessRefused, BrokerUnavailable
from evtools.transport.errors import Diagnosis, diagnose, explain
from evtools.transport.settings import ConnectionSettings

SETTINGS = ConnectionSettings(urls="redis://me:s3kr1t@broker-1:6379/0", source_of_url="-b flag")


def replied(text):
    """Return what redis-py makes of an error of the server."""
    return BaseParser.parse_error(text)


def of_openssl(reason):
    error = ssl.SSLError(1, f"[SSL: {reason}] words (_ssl.c:1)")
    error.reason = reason
    return error


A, R = amqp.exceptions, redis.exceptions

# fmt: off
REFUSED = [
    (A.AccessRefused("ACCESS_REFUSED - Login was refused"), "login: Login"),
    (A.AccessRefused("ACCESS_REFUSED - access to exchange"), "permission:"),
    (A.NotAllowed("NOT_ALLOWED - vhost x not found"), "vhost x not found"),
    (A.NotAllowed("NOT_ALLOWED - access to vhost '/'"), "vhost: access"),
    (A.NotAllowed("NOT_ALLOWED - access to vhost 'v' refused for user 'x: connection limit (1) is"
                  " reached'"), "vhost: access"),
    (A.NotAllowed("NOT_ALLOWED - vhost connection limit (1) is reached not found"), "not found"),
    (A.ConnectionError("Couldn't find appropriate auth mechanism (can"), "login:"),
    (A.PreconditionFailed("inequivalent arg 'type'"), "declaration: ineq"),
    (A.InternalError("INTERNAL_ERROR - Feature `x` is deprecated."), "queue:"),
    (NotImplementedError("You need to install the `gssapi` module"), "login:"),
    (replied("ERR unknown command 'SENTINEL'"), "it is no Sentinel"),
    (replied("MOVED 866 127.0.0.1:7001"), "cluster:"),
    (R.ResponseError("MOVED 866 127.0.0.1:7001"), "cluster: MOVED"),
    (replied("CROSSSLOT keys do not hash"), "cluster:"),
    (replied("ERR SELECT is not allowed in cluster mode"), "cluster:"),
    (R.RedisClusterException("no nodes"), "cluster:"),
    (replied("WRONGPASS invalid password"), "login: invalid"),
    (R.ResponseError("WRONGPASS invalid"), "login:"),
    (R.ResponseError("NOAUTH required"), "login:"),
    (replied("NOAUTH Authentication required."), "login:"),
    (replied("ERR Only HELLO messages are accepted by Sentinel instances."), "it is a Sentinel"),
    (replied("NOPERM no permissions to run the 'client|setname' command"), "permission:"),
    (R.ResponseError("NOPERM no permission"), "permission:"),
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
    (UnicodeError("encoding with 'idna' codec failed (UnicodeError: label empty)"),
     "DNS: broker-1: it is no name of a host"),
    (TimeoutError("_ssl.c:989: The handshake operation timed out"), "TLS: no answer"),
    (R.TimeoutError("Timeout connecting to server"), "TCP: no answer"),
    (R.TimeoutError("Timeout reading from socket"), "timeout: no answer"),
    (TimeoutError("timed out"), "timeout: no answer (--connect-timeout 4s)"),
    (ConnectionRefusedError(errno.ECONNREFUSED, "x"), "TCP: connection refused"),
    (ConnectionResetError(errno.ECONNRESET, "x"), "TCP: the broker closed"),
    (R.ConnectionError("Connection closed by server."), "TCP: Connection"),
    (OSError("Server unexpectedly closed connection"), "TCP: Server unexpectedly closed"),
    (R.InvalidResponse("Protocol error"), "does not speak Redis's"),
    (A.UnexpectedFrame("x"), "it does not speak AMQP"),
    (A.FrameSyntaxError("x"), "it does not speak AMQP"),
    (replied("CLUSTERDOWN Hash slot not served"), "cluster: Hash slot"),
    (replied("MASTERDOWN Link with MASTER is down"), "Link with MASTER is down"),
    (replied("READONLY You can't write against a replica"), "against a replica"),
    (replied("BUSY Redis is busy running a script"), "BUSY Redis"),
    (replied("ERR max number of clients reached"), "limit: max number of clients"),
    (A.ConsumerCancelled("amq.ctag-x"), "queue: the broker deleted our"),
    (A.ResourceLocked("RESOURCE_LOCKED - cannot obtain"), "cannot obtain"),
    (A.InternalError("INTERNAL_ERROR - vhost '/' is down"), "is down"),
    (A.NotAllowed("NOT_ALLOWED - access to vhost ' not found': connection limit (1) is reached"),
     "limit: access"),
    (A.NotAllowed("NOT_ALLOWED - connection refused for user 'u': user connection limit (1) is"
                  " reached"), "limit: connection refused"),
    (A.NotAllowed("NOT_ALLOWED - number of channels opened has reached the maximum allowed limit of"
                  " (1)"), "limit: number"),
    (A.PreconditionFailed("PRECONDITION_FAILED - cannot declare queue 'q': queue limit in vhost 'v'"
                          " (0) is reached"), "limit: cannot declare queue"),
    (A.PreconditionFailed("PRECONDITION_FAILED - cannot declare exchange 'e': exchange limit of 2"
                          " is reached"), "limit: cannot declare exchange"),
    (A.ConnectionForced("CONNECTION_FORCED - shutdown"), "shutdown"),
    (FileNotFoundError(errno.ENOENT, "No such file"), "no such socket"),
    (OSError(errno.EHOSTUNREACH, "No route to host"), "TCP: No route to host"),
    (OSError("odd"), "TCP: odd"),
    (R.BusyLoadingError("loading the dataset"), "loading the dataset"),
    (R.RedisError("odd"), "odd"),
    (RuntimeError("odd"), "RuntimeError: odd"),
    (RuntimeError(), "RuntimeError: RuntimeError"),
]
# fmt: on


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
    error = R.ConnectionError("Error 111 connecting to broker-1")
    error.__cause__ = ConnectionRefusedError(errno.ECONNREFUSED, "refused")
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
    error, inner = RuntimeError("outer"), RuntimeError("inner")
    error.__cause__, inner.__cause__ = inner, error
    assert "RuntimeError: outer" in explain(error, SETTINGS).message


def test_a_diagnosis_names_the_layer_and_no_broker():
    told = diagnose(ConnectionRefusedError(111, "Connection refused"), SETTINGS)
    assert told == Diagnosis("TCP", "connection refused", told.hint, refused=False)
    assert told.what == "TCP: connection refused"
    told = diagnose(A.NotAllowed("NOT_ALLOWED - vhost x not found"), SETTINGS)
    assert (told.text, told.what) == ("vhost x not found",) * 2
    assert "slash" in told.hint


def test_another_version_of_tls_is_not_taken_for_a_missing_certificate():
    told = diagnose(of_openssl("TLSV1_ALERT_PROTOCOL_VERSION"), SETTINGS)
    assert told.refused
    assert "versions of TLS" in told.hint


#: Words that stand in what brokers and drivers say of a failure.
WORDS = """cluster|login|not found|refused|auth mechanism|deprecated|gssapi|sentinel instances
'sentinel'|moved |required|noauth|wrongpass|setname|noperm|db index|protected mode|closed by
unknown command|wrong_version|alert|handshake|connecting|channel|denied|readonly|loading
certificate|limit|ssl""".replace("\n", "|").split("|")

# fmt: off
#: What may hold a name that somebody chose: a host, a user, a queue, a virtual host.
NAMED = [
    (R.ConnectionError, "Error 111 connecting to my-{}.svc:6379. refused.", ""),
    (R.ConnectionError, "Error while reading from my-{}.svc:6379 : (5, 'x')", ""),
    (R.TimeoutError, "Timeout reading from my-{}.svc:6379", "timeout"),
    (replied, "NOPERM User {} has no permissions to run it", "permission"),
    (replied, "ERR no {}", ""),
    (OSError, "no way to {}", "TCP"),
    (TimeoutError, "{} took too long", "timeout"),
    (A.AccessRefused, "ACCESS_REFUSED - access to queue '{0}' in vhost '{0}' refused",
     "permission"),
    (A.NotAllowed, "NOT_ALLOWED - access to vhost '{0}' refused for user '{0}'", "vhost"),
    (A.NotFound, "NOT_FOUND - no queue '{}'", ""),
    (lambda text: ssl.SSLEOFError(8, text), "EOF at {}", "TLS"),
]
# fmt: on


@pytest.mark.parametrize(("raised", "text", "layer"), NAMED)
def test_a_word_in_a_name_that_somebody_chose_means_nothing(raised, text, layer):
    plain = diagnose(raised(text.format("x")), SETTINGS)
    assert plain.layer == layer
    for word in [*WORDS, *map(str.upper, WORDS)]:
        told = diagnose(raised(text.format(word)), SETTINGS)
        assert (told.layer, told.hint, told.refused) == (plain.layer, plain.hint, plain.refused)
