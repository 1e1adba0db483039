"""Failures of others' code: the first of a kind with its traceback, then one line."""

import logging
from typing import Final

from evtools.errors import EvtoolsError
from evtools.text import hide_credentials

_log = logging.getLogger(__name__)

_KINDS_MAX: Final = 100
_REASON_MAX: Final = 300


def reason(error: BaseException) -> str:
    """Return in one line what an exception says."""
    lines = str(error).strip().splitlines()
    text = hide_credentials(lines[0])[:_REASON_MAX] if lines else ""
    if isinstance(error, EvtoolsError):
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def place(error: BaseException) -> tuple[str, int]:
    """Return the file and the line where an exception was raised."""
    traceback = error.__traceback__
    if traceback is None:
        return "", 0
    while traceback.tb_next is not None:
        traceback = traceback.tb_next
    return traceback.tb_frame.f_code.co_filename, traceback.tb_lineno


class Failures:
    """Tell each kind of failure at length once, and in a line from then on.

    Errors of ours explain themselves and have no traceback.
    """

    def __init__(self) -> None:
        self._told: set[tuple[type[BaseException], str, int]] = set()

    def tell(self, what: str, error: BaseException) -> None:
        """Log that `what` happened, and why."""
        kind = (type(error), *place(error))
        at_length = kind not in self._told and not isinstance(error, EvtoolsError)
        if len(self._told) < _KINDS_MAX:
            self._told.add(kind)
        _log.error("%s: %s", what, reason(error), exc_info=error if at_length else None)
