import errno
import socket
import ssl

import amqp.exceptions
import pytest
import redis.exceptions
import redis.sentinel

from evtools.errors import AccessRefused, BrokerUnavailable, UsageError
from evtools.transport.diagnosis import diagnose, explain
from evtools.transport.settings import ConnectionSettings

SETTINGS = ConnectionSettings(
    urls="redis://me:s3kr1t@broker-1:6379/0", source_of_url="-b flag"
)


def caused(error, cause):
    try:
        try:
            raise cause
        except type(cause) as reason:
            raise error from reason
    except type(error) as caught:
        return caught


REFUSED = [
    (
        amqp.exceptions.AccessRefused("ACCESS_REFUSED - Login was refused"),
        "login: Login",
    ),
    (
        amqp.exceptions.AccessRefused("ACCESS_REFUSED - access to exchange"),
        "permission:",
    ),
    (
        amqp.exceptions.NotAllowed("NOT_ALLOWED - vhost x not found"),
        "vhost x not found",
    ),
    (amqp.exceptions.NotAllowed("NOT_ALLOWED - access to vhost '/'"), "vhost: access"),
    (amqp.exceptions.ConnectionError("no appropriate auth mechanism"), "login:"),
    (
        amqp.exceptions.PreconditionFailed("inequivalent arg 'type'"),
        "declaration: ineq",
    ),
    (amqp.exceptions.InternalError("INTERNAL_ERROR - Feature is deprecated"), "queue:"),
    (NotImplementedError("install the `gssapi` module"), "login:"),
    (redis.exceptions.ResponseError("unknown command 'SENTINEL'"), "it is no Sentinel"),
    (redis.exceptions.ClusterDownError("CLUSTERDOWN Hash slot"), "cluster:"),
    (redis.exceptions.MovedError("866 127.0.0.1:7001"), "cluster:"),
    (redis.exceptions.ResponseError("MOVED 866 127.0.0.1:7001"), "cluster: MOVED"),
    (redis.exceptions.ClusterCrossSlotError("keys do not hash"), "cluster:"),
    (redis.exceptions.ResponseError("SELECT not allowed in cluster mode"), "cluster:"),
    (redis.exceptions.RedisClusterException("no nodes"), "cluster:"),
    (redis.exceptions.AuthenticationError("invalid password"), "login: invalid"),
    (redis.exceptions.ResponseError("WRONGPASS invalid"), "login:"),
    (redis.exceptions.ResponseError("NOAUTH required"), "login:"),
    (redis.exceptions.AuthenticationError("Authentication required."), "login:"),
    (
        redis.exceptions.ResponseError("Only HELLO ... by Sentinel instances."),
        "it is a Sentinel",
    ),
    (redis.exceptions.NoPermissionError("no 'client|setname'"), "permission:"),
    (redis.exceptions.NoPermissionError("no 'psubscribe'"), "permission:"),
    (redis.exceptions.ResponseError("NOPERM no permission"), "permission:"),
    (redis.exceptions.ResponseError("DB index is out of range"), "database: DB index"),
    (redis.exceptions.ConnectionError("DENIED running in protected mode"), "login:"),
    (redis.exceptions.ResponseError("unknown command 'HELLO'"), "unknown command"),
    (ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER] wrong"), "TLS: it speaks none"),
    (ssl.SSLError(1, "tlsv13 alert certificate required"), "TLS: tlsv13 alert"),
]

UNAVAILABLE = [
    (
        redis.sentinel.MasterNotFoundError("No master found for 'x'"),
        "Sentinel: no master",
    ),
    (ssl.SSLEOFError(8, "EOF occurred (_ssl.c:2427)"), "TLS: EOF occurred"),
    (socket.gaierror(-2, "Name or service not known"), "DNS: broker-1: Name or"),
    (TimeoutError("_ssl.c:989: The handshake operation timed out"), "TLS: no answer"),
    (redis.exceptions.TimeoutError("Timeout connecting to server"), "TCP: no answer"),
    (
        redis.exceptions.TimeoutError("Timeout reading from socket"),
        "timeout: no answer",
    ),
    (TimeoutError("timed out"), "timeout: no answer (--connect-timeout 4s)"),
    (ConnectionRefusedError(errno.ECONNREFUSED, "x"), "TCP: connection refused"),
    (ConnectionResetError(errno.ECONNRESET, "x"), "TCP: the broker closed"),
    (
        redis.exceptions.ConnectionError("Connection closed by server."),
        "TCP: Connection",
    ),
    (redis.exceptions.InvalidResponse("Protocol error"), "does not speak Redis's"),
    (amqp.exceptions.UnexpectedFrame("x"), "it does not speak AMQP"),
    (amqp.exceptions.FrameSyntaxError("x"), "it does not speak AMQP"),
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


def test_a_certificate_is_refused_without_a_reason_too():
    error = ssl.SSLCertVerificationError(1, "verify failed (_ssl.c:1)")
    assert explain(error, SETTINGS).message.endswith("TLS: verify failed")


def test_openssl_reasons_are_readable():
    error = ssl.SSLError(1, "alert x")
    error.reason = "TLSV1_ALERT_UNKNOWN_CA"
    assert "TLS: tlsv1 alert unknown ca" in explain(error, SETTINGS).message


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


def test_a_right_to_name_connections_is_not_needed():
    error = redis.exceptions.NoPermissionError("cannot run 'client|setname'")
    assert "client_name=null" in explain(error, SETTINGS).hint


def test_an_error_of_ours_stays_as_it_is():
    error = UsageError("x")
    assert explain(error, SETTINGS) is error


def test_a_url_without_host_means_this_one():
    explained = explain(
        socket.gaierror(-3, "later"), ConnectionSettings(urls="amqp://")
    )
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
