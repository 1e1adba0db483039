"""Typed events out of dictionaries."""

from evtools.wire import from_fields


def event_of(fields, joined=None):
    """The event of a dictionary, with what earlier events of its task had."""
    event = from_fields(fields)
    if joined:
        event.known = dict(joined)
    return event
