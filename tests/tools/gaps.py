"""Gap records as the dictionaries that recordings and handlers have."""

from evtools import wire


def gap(*args, **fields):
    """The fields of a gap record."""
    return wire.gap(*args, **fields).as_dict()
