"""The event protocol: bytes to events and back, exchange and queue names."""

from evtools.wire.codec import ENVELOPE, MESSAGE_MAX_BYTES, Codec, Defect, Message
from evtools.wire.envelope import envelope, iso_utc, open_envelope, own_fields
from evtools.wire.envelope_writer import EnvelopeWriter
from evtools.wire.events import (
    GAP,
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
    is_nameless,
    make_event,
    moment,
    routing_key_from,
)
from evtools.wire.joiner import Joiner
from evtools.wire.known import Known, KnownFields, known
from evtools.wire.line import encode_line
from evtools.wire.missed import OBSERVED, MissedTasks
from evtools.wire.record import Record
from evtools.wire.schema import Schema, from_fields
from evtools.wire.serialisers import read_fields
from evtools.wire.task_event import AnyRecord
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

__all__ = [
    "ENVELOPE",
    "GAP",
    "MESSAGE_MAX_BYTES",
    "OBSERVED",
    "TIME_MAX",
    "AnyRecord",
    "Codec",
    "CustomEvent",
    "Defect",
    "EnvelopeWriter",
    "Event",
    "EventFields",
    "Gap",
    "Joiner",
    "Known",
    "KnownFields",
    "LamportClock",
    "Lost",
    "Message",
    "MissedTasks",
    "Record",
    "RedisTopics",
    "Schema",
    "TaskEvent",
    "WorkerEvent",
    "bindings",
    "encode_line",
    "envelope",
    "escape_glob",
    "exchange_type",
    "from_fields",
    "gap",
    "group_from",
    "is_nameless",
    "iso_utc",
    "known",
    "make_event",
    "moment",
    "open_envelope",
    "own_fields",
    "queue_arguments",
    "queue_name",
    "read_fields",
    "redis_topics",
    "routing_key_from",
    "wanted",
]
