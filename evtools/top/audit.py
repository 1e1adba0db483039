"""The record of what was done to the cluster, and by whom."""

import getpass
import json
import logging
import os
import socket
from typing import Any

from evtools.top.outcome import Outcome

_log = logging.getLogger(__name__)
#: However little is logged otherwise.
_log.setLevel(logging.INFO)


def record(outcome: Outcome) -> None:
    """Write one line about a request that was sent, or could not be."""
    _log.info("audit %s", json.dumps(_facts(outcome), ensure_ascii=True))


def _facts(outcome: Outcome) -> dict[str, Any]:
    request = outcome.request
    return {
        "who": f"{user()}@{socket.gethostname()}",
        "action": request.action.name,
        "targets": list(request.targets),
        "arguments": dict(request.values),
        "outcome": outcome.error or f"{outcome.answered} replied",
        "expected": outcome.expected,
        "seconds": round(outcome.seconds, 3),
        "replies": {
            reply.worker: ("error: " if reply.failed else "") + reply.text
            for reply in outcome.replies
        },
    }


def user() -> str:
    """Return who runs us, by name if it has one."""
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):
        return str(os.getuid())
