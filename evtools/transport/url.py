"""Broker URLs: the kinds of broker, lists of addresses, and what may be shown of them."""

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qsl, quote, unquote

from evtools.errors import UsageError

MASK = "**"

# --- kinds of broker ----------------------------------------------------------------


class Kind(NamedTuple):
    """A kind of broker that carries events, and whether its scheme asks for TLS.

    `transport` is kombu's name of it, `family` ours; brokers of one family can stand in for
    each other.
    """

    transport: str
    family: str
    tls: bool = False


# fmt: off
#: By scheme.  kombu would prefer librabbitmq where it is installed; it cannot do half of what
#: is needed, so every AMQP scheme means py-amqp.
KINDS: Final[Mapping[str, Kind]] = {
    "amqp":          Kind("pyamqp", "amqp"),
    "pyamqp":        Kind("pyamqp", "amqp"),
    "librabbitmq":   Kind("pyamqp", "amqp"),
    "amqps":         Kind("pyamqp", "amqp", tls=True),
    "redis":         Kind("redis", "redis"),
    "rediss":        Kind("redis", "redis", tls=True),
    "redis+socket":  Kind("redis", "socket"),
    "valkey":        Kind("redis", "redis"),
    "valkeys":       Kind("redis", "redis", tls=True),
    "valkey+socket": Kind("redis", "socket"),
    "sentinel":      Kind("sentinel", "sentinel"),
    "memory":        Kind("memory", "memory"),
}

#: What carries no events, by the reason: scheme and name.
_REFUSED: Final[Mapping[str, Mapping[str, str]]] = {
    "a message there reaches one reader only, and events need many": {
        "sqs": "SQS", "kafka": "Kafka", "confluentkafka": "Kafka", "zookeeper": "ZooKeeper",
        "consul": "Consul", "etcd": "etcd", "pyro": "Pyro", "slmq": "SLMQ",
        "azurestoragequeues": "Azure Storage Queues", "azureservicebus": "Azure Service Bus",
    },
    "Celery sends no events over a database":
        dict.fromkeys(("sqlalchemy", "sqla", "django"), "An SQL database"),
    "an event queue there outlives its reader and grows forever":
        {"pgmq": "PGMQ", "mongodb": "MongoDB", "filesystem": "The file system"},
    "evtools has not been tested with it":
        {"gcpubsub": "Google Pub/Sub", "qpid": "Qpid's own transport"},
    "Celery and kombu cannot use Redis Cluster": {
        **dict.fromkeys(("redis+cluster", "rediss+cluster", "redis-cluster", "rediscluster"),
                        "Redis Cluster"),
        **dict.fromkeys(("valkey+cluster", "valkeys+cluster", "valkey-cluster"), "Valkey Cluster"),
    },
}

#: What people write, and what they mean.
_MEANT: Final[Mapping[str, str]] = {
    "valkey+ssl": "valkeys", "valkey+tls": "valkeys", "valkey+unix": "valkey+socket",
    "valkey+sentinel": "sentinel", "valkey-sentinel": "sentinel", "keydb": "redis",
    "rabbitmq": "amqp", "amqp+ssl": "amqps", "redis+ssl": "rediss", "redis+tls": "rediss",
    "redis+sentinel": "sentinel", "redis-sentinel": "sentinel", "unix": "redis+socket",
    "redis+unix": "redis+socket",
}
# fmt: on

#: By scheme: name and reason.
REFUSED: Final[Mapping[str, tuple[str, str]]] = {
    scheme: (name, reason) for reason, names in _REFUSED.items() for scheme, name in names.items()
}
_INSTEAD = (
    "events need a broker that hands every reader a copy: RabbitMQ (amqp://) or"
    " Redis (redis://, sentinel://)"
)


def kind_of(scheme: str) -> Kind:
    """Return the kind of broker behind a URL scheme; raise UsageError."""
    if scheme in KINDS:
        return KINDS[scheme]
    lower = scheme.lower()
    if refused := REFUSED.get(lower) or REFUSED.get(lower.split("+", 1)[0]):
        name, reason = refused
        raise UsageError(f"{name} is not supported: {reason}", _INSTEAD)
    # What is in the table is nearest to itself.
    near = difflib.get_close_matches(lower, [*KINDS, *_MEANT], n=1)
    hint = f"did you mean {_MEANT.get(near[0], near[0])}:// ?" if near else _INSTEAD
    raise UsageError(f"unknown kind of broker: {scheme}://", hint)


# --- addresses ----------------------------------------------------------------------

# fmt: off
#: Query parameters that hold no secret; of all others the value stays hidden.
_HARMLESS = frozenset((
    "ssl_cert_reqs", "ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_check_hostname",
    "virtual_host", "heartbeat", "login_method", "connect_timeout", "credential_provider",
    "socket_timeout",
))
# fmt: on
#: A user name alone is most likely a password in the wrong place with these.
_USER_RARELY_ALONE = {name for name in KINDS if KINDS[name].transport in ("redis", "sentinel")}
_SECRET_NAME = re.compile(r"pass|secret|token|credential|private|auth", re.IGNORECASE)
_PARAMETER = re.compile(r"[a-z_]{1,40}", re.ASCII)

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://", re.ASCII)
_PLACE = re.compile(
    r"(?P<host>\[[0-9A-Fa-f:.%]*\]|[^\s:@/?#\[\];]*)(?::(?P<port>\d{0,5}))?", re.ASCII
)
#: The last @ before the path ends the user; another one behind that is of a password.
_URL = re.compile(
    rf"{_SCHEME.pattern}((?P<user>[^/?#]*)@)?(?P<place>{_PLACE.pattern})"
    r"(?P<path>/[^?#@]*)?(\?(?P<query>[^#@]*))?(#[^@\n]*)?",
    re.ASCII,
)
_PORT_MAX = 65535


class BadURL(ValueError):
    """An address cannot be parsed; the text never quotes it."""


@dataclass(frozen=True, slots=True, repr=False)
class Address:
    """One broker address, parsed; all but the port are still escaped, `path` has no slash before.

    `port` is None where the URL has none.
    """

    scheme: str
    user: str
    password: str | None
    host: str
    port: int | None
    path: str
    query: str

    @property
    def parameters(self) -> dict[str, str]:
        """The query as a mapping; of a repeated name the last one counts."""
        return dict(parse_qsl(self.query, keep_blank_values=True))

    @property
    def hostname(self) -> str:
        """The host as the resolver takes it."""
        return unquote(self.host.strip("[]"))

    @property
    def url(self) -> str:
        """The address as a URL again, with its secrets."""
        user = self.user if self.password is None else f"{self.user}:{self.password}"
        place = f"{user}@{self.host}" if user else self.host
        port = "" if self.port is None else f":{self.port}"
        path, query = self.path and f"/{self.path}", self.query and f"?{self.query}"
        return f"{self.scheme}://{place}{port}{path}{query}"

    def masked(self) -> str:
        """Return the address as a URL without its secrets."""
        user, password, query = self.user, self.password, []
        if password is not None:
            password = MASK
        elif user and self.scheme in _USER_RARELY_ALONE:
            user = MASK
        for part in self.query.split("&") if self.query else ():
            name, equals, _ = part.partition("=")
            if name in _HARMLESS and equals:
                query.append(part)
            else:
                query.append(f"{name}={MASK}" if equals and _PARAMETER.fullmatch(name) else MASK)
        return replace(self, user=user, password=password, query="&".join(query)).url


def _match(url: str) -> re.Match[str]:
    if match := _URL.fullmatch(url):
        return match
    if not _SCHEME.match(url):
        raise BadURL("it has no scheme such as redis:// or amqp://")
    raise BadURL(
        "host and port cannot be told apart; a password with one of / ? # ; : @"
        " must be percent-encoded"
    )


def parse(url: str) -> Address:
    """Parse one address; raise BadURL."""
    match = _match(url)
    user, colon, password = (match["user"] or "").partition(":")
    port = int(match["port"]) if match["port"] else None
    if port is not None and not 1 <= port <= _PORT_MAX:
        raise BadURL("the port is not between 1 and 65535")
    path, query = (match["path"] or "").removeprefix("/"), match["query"] or ""
    return Address(match[1], user, password if colon else None, match["host"], port, path, query)


def split(urls: str) -> list[str]:
    """Split a `;` list into whole URLs; raise BadURL.

    Mere hosts take all else from the first one, as in `sentinel://:secret@a:26379;b:26379/0`.
    """
    first, *others = [part.strip() for part in urls.split(";")]
    if not others:
        return [first]
    found, match = [first], _match(first)
    before, after = first[: match.start("place")], first[match.end("place") :]
    for part in filter(None, others):
        place, slash, path = part.partition("/")
        if "://" in part:
            found.append(part)
        elif _PLACE.fullmatch(place):
            found.append(f"{before}{place}{slash + path or after}")
        else:
            raise BadURL("a ; in a user name, password or path must be written as %3B")
    return found


def with_vhost(url: str, vhost: str) -> str:
    """Return the same address with another virtual host or database, escaped."""
    address = parse(url)
    # The parameter would win over the path.
    kept = [part for part in address.query.split("&") if not part.startswith("virtual_host=")]
    if address.scheme.endswith("+socket"):
        # There the path is the socket.
        kept, vhost = [*kept, f"virtual_host={vhost}"], address.path
    return replace(address, path=vhost, query="&".join(filter(None, kept))).url


def with_password(urls: str, password: str) -> str:
    """Return the same addresses with another password, which is not escaped yet."""
    escaped = quote(password, safe="")
    return ";".join(replace(parse(url), password=escaped).url for url in split(urls))


def mask(urls: str) -> str:
    """Return what may be shown of a URL or a `;` list of URLs; of a bad one its scheme."""
    try:
        return ";".join(parse(url).masked() for url in split(urls))
    except BadURL:
        scheme = _SCHEME.match(urls)
        return f"{scheme.group()}{MASK}" if scheme else MASK


def secrets(urls: str) -> set[str]:
    """Return all texts in `urls` that must not be shown, escaped and plain."""
    try:
        addresses = [parse(url) for url in split(urls)]
    except BadURL:
        scheme = _SCHEME.match(urls)
        return {urls[scheme.end() if scheme else 0 :]}
    found: set[str] = set()
    for address in addresses:
        is_alone = address.password is None and address.scheme in _USER_RARELY_ALONE
        found.add(address.user if is_alone else address.password or "")
        found.update(value for name, value in address.parameters.items() if name not in _HARMLESS)
    return {text for secret in found for text in (secret, unquote(secret)) if text}


def is_secret(name: str) -> bool:
    """Return whether the value of an option of this name must not be shown."""
    return _SECRET_NAME.search(name) is not None


def mask_options(value: Any, name: str = "") -> Any:
    """Return transport options for display: secrets masked at every depth."""
    if isinstance(value, Mapping):
        return {key: mask_options(item, str(key)) for key, item in value.items()}
    return MASK if is_secret(name) and value else value
