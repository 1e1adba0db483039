"""Watch Celery clusters through their event stream."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from evtools.cam.camera import Camera, Polaroid
    from evtools.cam.snapshot import SnapshotInfo
    from evtools.cam.snapshot import SnapshotInfo as Frame
    from evtools.events import Events
    from evtools.state import CeleryTask as Task
    from evtools.state import State, Worker
    from evtools.transport import EventDispatcher, EventReceiver, get_exchange
    from evtools.wire import group_from
    from evtools.wire import make_event as Event  # noqa: N812 - Celery's name

__version__ = "0.2.0"

# fmt: off
__all__ = [
    "Camera", "Event", "EventDispatcher", "EventReceiver", "Events", "Frame", "Polaroid",
    "SnapshotInfo", "State", "Task", "Worker", "get_exchange", "group_from",
]
#: Where the public names live; imported on use, so that `evdump --help` does not pay for kombu.
_HOMES = {
    "Camera": "evtools.cam.camera", "Polaroid": "evtools.cam.camera",
    "SnapshotInfo": "evtools.cam.snapshot", "Events": "evtools.events",
    "State": "evtools.state", "Worker": "evtools.state", "Task": "evtools.state.celery",
    "EventDispatcher": "evtools.transport", "EventReceiver": "evtools.transport",
    "get_exchange": "evtools.transport", "Event": "evtools.transport.dispatcher",
    "group_from": "evtools.wire",
}
# fmt: on
#: Former names, until evtools 0.3.
_ALIASES = {"Frame": "SnapshotInfo"}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used."""
    new = _ALIASES.get(name, name)
    if new not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module  # noqa: PLC0415  (start-up time)

    return getattr(import_module(_HOMES[new]), new)
