"""The event protocol: bytes to events and back, exchange and queue names."""

from evtools.wire.events import (
    GAP,
    Event,
    EventFields,
    gap,
    group_from,
    routing_key_from,
)
from evtools.wire.record import Record

__all__ = [
    "GAP",
    "Event",
    "EventFields",
    "Record",
    "gap",
    "group_from",
    "routing_key_from",
]
