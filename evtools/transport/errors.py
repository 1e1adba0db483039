"""What went wrong between us and the broker, in one line that names the layer."""

import re
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from socket import gaierror
from typing import Any, Final

import amqp.exceptions
import redis.exceptions
import redis.sentinel
from kombu.exceptions import KombuError

from evtools.errors import AccessRefused, BrokerUnavailable, EvtoolsError
from evtools.transport import url
from evtools.transport.settings import ConnectionSettings

_R, _A = redis.exceptions, amqp.exceptions
#: What kombu and the drivers raise where something is wrong with the broker.
FAILURES: Final = (OSError, _A.AMQPError, _R.RedisError, KombuError, NotImplementedError)

_TEXT_MAX = 300
_CHAIN_MAX = 10


class PeerFailure(_R.ConnectionError):
    """`peer`, a "Sentinel" or the "master" that it names, failed; `__cause__` says how."""

    def __init__(self, peer: str, address: str) -> None:
        super().__init__(f"{peer} {address}")
        self.peer, self.address = peer, address


# fmt: off
_UP = "Is the broker up, and may this host connect to it?"
_LOGIN = "Check user name and password; in a URL / ? # ; : @ must be percent-encoded."
_NAMELESS = ("Put the password into the URL: redis://:PASSWORD@host, or USER:PASSWORD@ where"
             " there are users; in it / ? # ; : @ must be percent-encoded.")
_RIGHTS = "Ask the broker's administrator for the right, or use another user."
_RENAMED = ("Is it a proxy, or is the command renamed (rename-command)? Then use the address of"
            " the server itself, or ask its administrator.")
_NO_PATTERNS = ("Events need it, unless workers and clients have fanout_patterns = False in their"
                " broker_transport_options; then: --no-fanout-patterns")
_NO_HELLO = "Only protocol = 3 needs it: leave that transport option out."
_NO_SELECT = "It has one database, if that: end the URL with /0, here and for the workers."
_CLIENTS = ("It is the broker's maxclients, and we try again until there is room. redis-cli"
            " CLIENT LIST shows who is connected, once there is room for it, too.")
_PORT = "Is this a TLS port (--tls, rediss://, amqps://), or another service's?"
_PLAIN = "Is this a port without TLS (redis://, amqp://), or another service's?"
_CLIENT = "It may want a client certificate: --tls-cert FILE --tls-key FILE."
_VERSIONS = ("It speaks other versions of TLS than we may: compare ssl_version and"
             " ssl_min_version in broker_use_ssl, or ssl_min_version in the URL.")
_SNI = ("It may serve several names, and an address is none: --tls-server-name NAME, as in"
        " its certificate.")
_CA = ("Give the CA to trust with --tls-ca FILE, and the name that the certificate is for"
       " with --tls-server-name NAME where that is not the host;"
       " --tls-verify none would send the password to any server that answers.")
_CLUSTER = "Celery and kombu cannot use Redis Cluster; use one master, or Sentinel."
_MASTER = """\
Sentinels want the name of a master that they watch:
  -b sentinel://host:26379/0 --broker-option master_name=mymaster
This lists them:
  redis-cli -h host -p 26379 SENTINEL MASTERS"""
_DOWN = "It goes on as soon as the Sentinels agree on a master that is up."
_EXCLUSIVE = "This RabbitMQ wants event queues exclusive (our default) or durable."
_CLASH = "Everybody must declare it alike: compare with Celery's event_* settings."
_ROOM = "It is tried again until there is room; the administrator can raise the limit."
_VHOST_DOWN = "It is tried again until it is up; or the administrator starts it again."
_ALARM = "What it is short of, on its host: rabbitmq-diagnostics -q alarms"
_VHOST = "It follows the slash after the host: amqp://host/name; // is the default one."

_SENTINEL_LOGIN = """\
Sentinels have a password of their own, which is not that of the master:
  --broker-option sentinel_kwargs='{"password": "PASSWORD"}'
or in the settings file, out of sight of other users:
  broker_option.sentinel_kwargs.password = "PASSWORD\""""
_SENTINEL_TLS = """\
Sentinels may speak TLS, or not, and want certificates of their own:
  --broker-option sentinel_kwargs='{"ssl": true, "ssl_ca_certs": "FILE"}'"""
_ITS_LOGIN = ("The master wants its own user and password, and they stand in the URL:"
              " sentinel://USER:PASSWORD@host:26379/0; in it / ? # ; : @ must be percent-encoded.")
_MASTER_AWAY = ("Sentinels give the address under which they know the master; this host must be"
                " able to connect to it, too. Redis can announce another one: replica-announce-ip"
                " of the server, sentinel announce-hostnames.")
#: By who failed and how: what to do about it, where that is not as for a broker at the given URL.
_OF_PEERS: Final[Mapping[tuple[str, str], str]] = {
    ("Sentinel", "login"): _SENTINEL_LOGIN, ("Sentinel", "permission"): _SENTINEL_LOGIN,
    ("Sentinel", "TLS"): _SENTINEL_TLS, ("master", "login"): _ITS_LOGIN,
    ("master", "TCP"): _MASTER_AWAY, ("master", "DNS"): _MASTER_AWAY,
    ("master", "timeout"): _MASTER_AWAY,
}

_AMQP_CODE = re.compile(r"[A-Z_]+ - ")
#: How RabbitMQ begins and ends what it says of limits.
_LIMIT = (r"(?s)(access to vhost|connection refused|number of channels|cannot declare) .*"
          r"limit (of \(?\d+\)?|(in vhost .* |in cluster )?\(\d+\))( is reached)?\Z")
#: How servers of all ages quote a command that they do not know, each in a way of its own.
_UNKNOWN = r"(?i)(?:ERR )?(?:unknown|unsupported) command [`'\"]?"
_LACKS = "the server has no {command}"

_Refused = _A.AccessRefused
_MasterNotFound = redis.sentinel.MasterNotFoundError
_ANY_TIMEOUT = (_R.TimeoutError, TimeoutError)
_OF_CLUSTERS = (_R.ClusterError, _R.ClusterCrossSlotError, _R.AskError, _R.RedisClusterException)
_NO_FRAMES = (_A.FrameError, _A.FrameSyntaxError, _A.UnexpectedFrame)
_FINAL = True

#: Exceptions, the beginning of what was said, layer, text, hint, and whether another attempt is
#: useless.  The text may contain {text}, the exception's own words, {name}, the exception's name,
#: {host}, {timeout} and {command}.
#:
#: The first rule that fits anything in the chain of causes is taken: special cases stand above the
#: layers they belong to.  Hosts, virtual hosts, users and queues have any name, and are in many
#: texts: so no pattern is searched for, and what a driver says of a host is not looked at.
_RULES: Final[tuple[tuple[Any, str, str, str, str, bool], ...]] = (
    (_Refused, "Login was refused", "login", "{text}", _LOGIN, _FINAL),
    (_Refused, "", "permission", "{text}", _RIGHTS, _FINAL),
    (_A.ResourceError, "", "alarm", "{text}", _ALARM, False),
    (_A.InternalError, r"(?s)access to vhost .* is down\Z", "vhost", "{text}", _VHOST_DOWN, False),
    # Others leave in time.
    ((_A.NotAllowed, _A.PreconditionFailed), _LIMIT, "limit", "{text}", _ROOM, False),
    (_A.NotAllowed, r"vhost .* not found\Z", "vhost", "{text}", _VHOST, _FINAL),
    (_A.NotAllowed, "", "vhost", "{text}", _RIGHTS, _FINAL),
    (_A.ConnectionError, "Couldn't find appropriate auth mechanism", "login", "{text}", _LOGIN,
     _FINAL),
    (_A.PreconditionFailed, "", "declaration", "{text}", _CLASH, _FINAL),
    (_A.ConsumerCancelled, "", "queue",
     "the broker deleted our queue, or lost the node that held it", "", False),
    (_A.AMQPError, r"Feature `?\w+`? is deprecated", "queue", "{text}", _EXCLUSIVE, _FINAL),
    (NotImplementedError, "You need to install the `gssapi` module", "login", "{text}", _LOGIN,
     _FINAL),
    (_MasterNotFound, "no master of the name", "Sentinel", "{text}", _MASTER, False),
    (_MasterNotFound, "", "Sentinel", "{text}", _DOWN, False),
    (_R.ResponseError, "ERR Only HELLO messages are accepted by Sentinel", "", "it is a Sentinel",
     _MASTER, _FINAL),
    (_R.ResponseError, f"{_UNKNOWN}SENTINEL", "", "it is no Sentinel", "", _FINAL),
    (_R.ResponseError, "ERR SELECT is not allowed in cluster mode", "cluster", "{text}", _CLUSTER,
     _FINAL),
    # What is down comes back; what it then answers says whether it is any use.
    (_R.ClusterDownError, "", "cluster", "{text}", "", False),
    (_R.RedisError, "CLUSTERDOWN ", "cluster", "{text}", "", False),
    (_R.RedisError, "ERR max number of clients reached", "limit", "{text}", _CLIENTS, False),
    (_R.ResponseError, "MOVED |ASK |CROSSSLOT ", "cluster", "{text}", _CLUSTER, _FINAL),
    (_OF_CLUSTERS, "", "cluster", "{text}", _CLUSTER, _FINAL),
    (_R.RedisError, "NOAUTH ", "login", "{text}", _NAMELESS, _FINAL),
    (_R.AuthenticationError, "", "login", "{text}", _LOGIN, _FINAL),
    (_R.ResponseError, "WRONGPASS ", "login", "{text}", _LOGIN, _FINAL),
    (_R.ResponseError, "NOPERM ", "permission", "{text}", _RIGHTS, _FINAL),
    (_R.ResponseError, "ERR (invalid )?DB index", "database", "{text}", "", _FINAL),
    (_R.RedisError, "DENIED ", "login", "{text}", _RIGHTS, _FINAL),
    (_R.ResponseError, f"{_UNKNOWN}(PSUBSCRIBE)", "command", _LACKS, _NO_PATTERNS, _FINAL),
    (_R.ResponseError, f"{_UNKNOWN}(HELLO)", "command", _LACKS, _NO_HELLO, _FINAL),
    (_R.ResponseError, f"{_UNKNOWN}(SELECT)", "command", _LACKS, _NO_SELECT, _FINAL),
    (_R.ResponseError, rf"{_UNKNOWN}(\w+)", "command", _LACKS, _RENAMED, _FINAL),
    (ssl.SSLCertVerificationError, "", "TLS", "{text}", _CA, _FINAL),
    (ssl.SSLError, "WRONG_VERSION_NUMBER", "TLS", "it speaks none", _PLAIN, _FINAL),
    (ssl.SSLError, r"\w+_UNRECOGNIZED_NAME", "TLS",
     "the server does not go by the name that we call it", _SNI, _FINAL),
    (ssl.SSLError, r"\w+_ALERT_PROTOCOL_VERSION", "TLS", "{text}", _VERSIONS, _FINAL),
    (ssl.SSLError, r"\w+_ALERT_", "TLS", "{text}", _CLIENT, _FINAL),
    (ssl.SSLError, "", "TLS", "{text}", f"{_PLAIN} {_CLIENT}", False),
    (gaierror, "", "DNS", "{host}: {text}", "Is the host name right?", False),
    (UnicodeError, "(encoding with )?'idna' codec", "DNS", "{host}: it is no name of a host",
     "Is the host name right?", False),
    (TimeoutError, r"(_ssl\.c:\d+: )?The handshake operation timed out", "TLS",
     "no answer ({timeout})", _PLAIN, False),
    (_R.TimeoutError, "Timeout connecting to server", "TCP", "no answer ({timeout})", _UP, False),
    (_ANY_TIMEOUT, "", "timeout", "no answer ({timeout})", _PORT, False),
    (ConnectionRefusedError, "", "TCP", "connection refused", _UP, False),
    (ConnectionResetError, "the broker closed", "TCP", "{text}", _PORT, False),
    (ConnectionResetError, "", "TCP", "the broker closed the connection", _PORT, False),
    (OSError, "Server unexpectedly closed connection", "TCP", "{text}", _PORT, False),
    (_R.ConnectionError, "Connection closed by server", "TCP", "{text}", _PORT, False),
    (_R.InvalidResponse, "", "", "it does not speak Redis's protocol", _PORT, False),
    (_NO_FRAMES, "", "", "it does not speak AMQP", _PORT, False),
    (_A.AMQPError, "", "", "{text}", "", False),
    (FileNotFoundError, "", "", "no such socket", _UP, False),
    (OSError, "", "TCP", "{text}", _UP, False),
    (_R.RedisError, "", "", "{text}", "", False),
    (BaseException, "", "", "{name}: {text}", "", False),
)
# fmt: on


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What went wrong, without the broker's name and any password.

    `layer` is where (DNS, TCP, TLS, login, permission, ...), empty where the text says it itself;
    after a `refused` another attempt is useless.
    """

    layer: str
    text: str
    hint: str
    refused: bool

    @property
    def what(self) -> str:
        """Layer and text, in one line; a text may begin with its layer."""
        if not self.layer or self.text.startswith(f"{self.layer} "):
            return self.text
        return f"{self.layer}: {self.text}"


def diagnose(exc: BaseException, settings: ConnectionSettings) -> Diagnosis:
    """Return what it means that kombu or a driver raised `exc`."""
    causes = [exc]
    while len(causes) < _CHAIN_MAX and (deeper := causes[-1].__cause__ or causes[-1].__context__):
        causes.append(deeper)
    for peer in causes:
        if isinstance(peer, PeerFailure) and peer.__cause__ is not None:
            found = diagnose(peer.__cause__, settings)
            hint = _OF_PEERS.get((peer.peer, found.layer), found.hint)
            if peer.peer == "Sentinel" and found.hint == _PORT:
                hint = _SENTINEL_TLS
            return replace(found, text=f"{peer.peer} {peer.address}: {found.text}", hint=hint)
    cause, match, layer, text, hint, is_final = next(
        (cause, match, *rest)
        for types, beginning, *rest in _RULES
        for cause in causes
        if isinstance(cause, types) and (match := re.match(beginning, _said(cause)[0]))
    )
    _, words = _said(cause)
    hidden = url.secrets(settings.current) | set(_secret_options(settings.options))
    for secret in sorted(hidden, key=len, reverse=True):
        words = words.replace(secret, url.MASK)
    hosts = [url.parse(address).hostname for address in settings.addresses()]
    host = " or ".join(dict.fromkeys(hosts)) or "localhost"
    timeout = f"--connect-timeout {settings.connect_timeout:g}s"
    name, command = type(cause).__name__, (match[match.lastindex or 0] or "").upper()
    text = text.format(text=words, host=host, timeout=timeout, name=name, command=command)
    return Diagnosis(layer, text, hint, is_final)


def explain(exc: BaseException, settings: ConnectionSettings) -> EvtoolsError:
    """Turn whatever kombu or a driver raised into an error for the user, which has no password.

    It is an AccessRefused where another attempt is useless (login, rights, certificates, wrong kind
    of server) and a BrokerUnavailable otherwise.  Our own errors are returned as they are.
    """
    if isinstance(exc, EvtoolsError):
        return exc
    diagnosis = diagnose(exc, settings)
    hint = f"tried: {settings.source_of_url}.  {diagnosis.hint}".rstrip()
    if diagnosis.refused:
        return AccessRefused(f"cannot use {settings.masked()}: {diagnosis.what}", hint)
    return BrokerUnavailable(f"cannot reach {settings.masked()}: {diagnosis.what}", hint)


def _said(exc: BaseException) -> tuple[str, str]:
    # What the other side said, from its beginning (of TLS OpenSSL's name for it); how it is shown.
    if isinstance(exc, _A.AMQPError) and exc.reply_text:
        # As in "ACCESS_REFUSED - Login was refused ..."
        answer = text = _AMQP_CODE.sub("", exc.reply_text) or exc.reply_text
    elif isinstance(exc, ssl.SSLError):
        # Which attributes there are depends on where in OpenSSL it came from.
        answer = getattr(exc, "reason", "") or ""
        otherwise = str(exc.strerror or exc).partition(" (_ssl")[0]  # without its source line
        text = getattr(exc, "verify_message", "") or answer.replace("_", " ").lower() or otherwise
    else:
        # redis-py takes the code away that an error of the server begins with.
        code = getattr(exc, "status_code", None)
        answer = f"{code} {exc}" if code else str(exc)
        text = (isinstance(exc, OSError) and exc.strerror) or str(exc)
    return answer, " ".join(text.split())[:_TEXT_MAX] or type(exc).__name__


def _secret_options(options: Mapping[str, Any]) -> Iterator[str]:
    for name, value in options.items():
        if isinstance(value, Mapping):
            yield from _secret_options(value)
        elif url.is_secret(name) and isinstance(value, str) and value:
            yield value
