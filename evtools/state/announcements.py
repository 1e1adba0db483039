"""What is announced of a task: by its client as it is sent, by a worker as it comes."""

from operator import attrgetter, itemgetter
from typing import TYPE_CHECKING, Final

from evtools.state.readings import COUNT_MAX
from evtools.state.sharing import Shared
from evtools.state.tries import can_follow, follow
from evtools.state.weights import RARE_BYTES
from evtools.wire import EventFields

if TYPE_CHECKING:
    from evtools.state.task import Task

_TOLD: Final = ("name", "args", "kwargs", "root_id", "parent_id", "eta", "expires")
#: What of it an event may leave open where we know it.
_OPTIONAL: Final = frozenset(_TOLD[3:])
_NEWS: Final = itemgetter(*_TOLD)
_KNOWN: Final = attrgetter(*_TOLD)


def announce(task: "Task", event: EventFields, shared: Shared) -> int:
    """Take what an event tells of a task as a whole, and of its newest try.

    Return by how many bytes the task has grown.  Raises KeyError or TypeError,
    before it changes anything, where the event does not tell it as Celery does.
    """
    name, args, kwargs, root, parent, eta, expires = _NEWS(event)
    name, retries = shared[name], event["retries"]
    if type(args) is not str or type(kwargs) is not str or type(retries) is not int:
        raise TypeError(args)
    if not 0 <= retries <= COUNT_MAX:
        raise TypeError(retries)
    grown = args.__sizeof__() + kwargs.__sizeof__()
    if root == task.uuid:
        root = task.uuid
    elif root is not None:
        grown += _size(root)
    if parent is not None:
        grown += _size(parent)
    if eta is not None or expires is not None:
        grown += _delay_bytes(eta, expires)
        _delay(task, eta, expires)
    task.name = name or task.name
    task.args = args
    task.kwargs = kwargs
    task.root_id = root or task.root_id
    task.parent_id = parent or task.parent_id
    task.retries = retries
    return grown


def announce_next(task: "Task", event: EventFields) -> int:
    """Let the task show the try that an event is the first to tell of.

    It `is_next`.  Return by how many bytes the task has grown.  Raises KeyError
    or TypeError, before it changes anything, where the event has no texts.
    """
    _, args, kwargs, _, _, eta, expires = _NEWS(event)
    _size(args)
    _size(kwargs)
    grown = _delay_bytes(eta, expires) + follow(task, event["retries"])
    _delay(task, eta, expires)
    return grown


def is_next(task: "Task", event: EventFields) -> bool:
    """Tell whether an event is the first that we hear of the next try."""
    retries = event["retries"]
    return (
        type(retries) is int
        and retries <= COUNT_MAX
        and is_same(task, event)
        and can_follow(task, retries)
    )


def is_same(task: "Task", event: EventFields) -> bool:
    """Tell whether an event names the task and its kin exactly as others did."""
    return bool(
        event["name"] == task.name
        and event["root_id"] == task.root_id
        and event["parent_id"] == task.parent_id
    )


def is_news(task: "Task", event: EventFields) -> bool:
    """Tell whether an event tells of the task what we have not heard."""
    told, known = _NEWS(event), _KNOWN(task)
    return told != known and not all(
        new == old or (new is None and name in _OPTIONAL)
        for name, new, old in zip(_TOLD, told, known, strict=True)
    )


def _delay(task: "Task", eta: str | None, expires: str | None) -> None:
    if eta is not None:
        task.eta = eta
    if expires is not None:
        task.expires = expires


def _delay_bytes(*moments: str | None) -> int:
    return sum([_size(moment) + RARE_BYTES for moment in moments if moment is not None])


def _size(text: str) -> int:
    """Return the size of a text; raises TypeError if it is none."""
    if type(text) is not str:
        raise TypeError(text)
    return text.__sizeof__()
