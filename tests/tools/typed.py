"""Typed events out of dictionaries."""

from evtools.wire import from_fields


def events_of(events):
    """The events of dictionaries, typed."""
    return [from_fields(fields) for fields in events]


def event_of(fields, joined=None):
    """The event of a dictionary, with what earlier events of its task had."""
    event = from_fields(fields)
    if joined:
        event.known = dict(joined)
    return event
