"""The event protocol: bytes to events and back, exchange and queue names."""

from evtools.wire.codec import (
    ENVELOPE,
    MESSAGE_MAX_BYTES,
    Codec,
    Defect,
    Message,
    Schema,
    from_fields,
)
from evtools.wire.envelope import (
    EnvelopeWriter,
    cluster_of,
    encode_line,
    envelope,
    iso_utc,
    open_envelope,
)
from evtools.wire.events import (
    COMMON,
    FIELDS,
    GAP,
    OWN_FIELDS,
    TIME_MAX,
    CustomEvent,
    Event,
    EventFields,
    Gap,
    LamportClock,
    TaskEvent,
    WorkerEvent,
    gap,
    group_from,
    is_cluster_name,
    make_class,
    make_event,
    moment,
    routing_key_from,
    tidy,
)
from evtools.wire.joiner import Joiner
from evtools.wire.missed import HEARTBEATS, MissedTasks
from evtools.wire.serializers import read_fields
from evtools.wire.topology import (
    RedisTopics,
    bindings,
    escape_glob,
    exchange_type,
    queue_arguments,
    queue_name,
    redis_topics,
    wanted,
)
from evtools.wire.values import Lost

# fmt: off
__all__ = [
    "COMMON", "ENVELOPE", "FIELDS", "GAP", "HEARTBEATS", "MESSAGE_MAX_BYTES", "OWN_FIELDS",
    "TIME_MAX", "Codec", "CustomEvent", "Defect", "EnvelopeWriter", "Event", "EventFields", "Gap",
    "Joiner", "LamportClock", "Lost", "Message", "MissedTasks", "RedisTopics", "Schema",
    "TaskEvent", "WorkerEvent", "bindings", "cluster_of", "encode_line", "envelope",
    "escape_glob", "exchange_type", "from_fields", "gap", "group_from", "is_cluster_name",
    "iso_utc", "make_class", "make_event", "moment", "open_envelope", "queue_arguments",
    "queue_name", "read_fields", "redis_topics", "routing_key_from", "tidy", "wanted",
]
# fmt: on
