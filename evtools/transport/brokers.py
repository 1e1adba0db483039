"""The kinds of broker: which carry events, and why the others do not."""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from evtools.errors import UsageError
from evtools.transport import url
from evtools.transport.settings import ConnectionSettings


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of broker that carries events.

    `transport` is kombu's name of it, `family` ours; brokers of one family can stand in for
    each other.  `tls` says whether the scheme asks for it.
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

_ONE_READER = "a message there reaches one reader only, and events need many"
_DATABASE = "Celery sends no events over a database"
_OUTLIVE = "an event queue there outlives its reader and grows forever"
_UNTRIED = "evtools has not been tested with it"
_CLUSTER = "Celery and kombu cannot use Redis Cluster"

#: By scheme: name and reason.
REFUSED: Final[Mapping[str, tuple[str, str]]] = {
    "sqs":                ("SQS", _ONE_READER),
    **dict.fromkeys(("sqlalchemy", "sqla", "django"), ("An SQL database", _DATABASE)),
    "pgmq":               ("PGMQ", _OUTLIVE),
    "mongodb":            ("MongoDB", _OUTLIVE),
    "filesystem":         ("The file system", _OUTLIVE),
    **dict.fromkeys(("kafka", "confluentkafka"), ("Kafka", _ONE_READER)),
    "zookeeper":          ("ZooKeeper", _ONE_READER),
    "consul":             ("Consul", _ONE_READER),
    "etcd":               ("etcd", _ONE_READER),
    "pyro":               ("Pyro", _ONE_READER),
    "slmq":               ("SLMQ", _ONE_READER),
    "azurestoragequeues": ("Azure Storage Queues", _ONE_READER),
    "azureservicebus":    ("Azure Service Bus", _ONE_READER),
    "gcpubsub":           ("Google Pub/Sub", _UNTRIED),
    "qpid":               ("Qpid's own transport", _UNTRIED),
    **dict.fromkeys(("redis+cluster", "rediss+cluster", "redis-cluster", "rediscluster"),
                    ("Redis Cluster", _CLUSTER)),
    **dict.fromkeys(("valkey+cluster", "valkeys+cluster", "valkey-cluster"),
                    ("Valkey Cluster", _CLUSTER)),
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

_INSTEAD = (
    "events need a broker that hands every reader a copy: RabbitMQ (amqp://) or"
    " Redis (redis://, sentinel://)"
)


def kind_of(scheme: str) -> Kind:
    """Return the kind of broker behind a URL scheme; raise UsageError."""
    kind = KINDS.get(scheme)
    if kind is not None:
        return kind
    lower = scheme.lower()
    refused = REFUSED.get(lower) or REFUSED.get(lower.split("+", 1)[0])
    if refused is not None:
        name, reason = refused
        raise UsageError(f"{name} is not supported: {reason}", _INSTEAD)
    raise UsageError(f"unknown kind of broker: {scheme}://", _suggestion(lower) or _INSTEAD)


def _suggestion(scheme: str) -> str:
    meant = _MEANT.get(scheme, "")
    if not meant:
        near = difflib.get_close_matches(scheme, [*KINDS, *_MEANT], n=1)
        meant = _MEANT.get(near[0], near[0]) if near else ""
    return f"did you mean {meant}:// ?" if meant else ""


def check_transport(settings: ConnectionSettings) -> None:
    """Raise UsageError for a broker that carries no events, with the reason.

    Nothing is connected and nothing declared: on some services a mere connection makes
    queues that cost money.
    """
    families = {kind_of(url.parse(address).scheme).family for address in settings.addresses()}
    if len(families) > 1:
        raise UsageError(
            f"the broker URL mixes kinds of broker: {settings.masked()}",
            "the addresses of a list must be able to stand in for each other",
        )
    if settings.event_queue and families != {"amqp"}:
        raise UsageError(
            f"--queue {settings.event_queue}: only RabbitMQ can share out events",
            "over Redis every listener gets all of them",
        )
    if families == {"sentinel"} and not settings.options.get("master_name"):
        raise UsageError(
            "sentinel:// needs the name of the master that the Sentinels watch",
            "as in: --broker-option master_name=mymaster",
        )
