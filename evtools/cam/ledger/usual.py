"""Rows of tasks whose lives were as simple as most are, without asking a state."""

from itertools import product
from typing import Any, Final

from evtools.cam.ledger.account import Account, Step

# Nearly all tasks are sent, or nobody tells even that, and are then received, started
# and ended by one worker, and nothing of it is odd.  What a state makes of that is
# written down here, and a test holds that it makes nothing else of it; of all that is
# not exactly so it has to be asked.

_SENT: Final = "task-sent"
_SUCCEEDED: Final = "task-succeeded"
_BEGUN: Final = ("task-received", "task-started")
#: The state that is entered by such steps.
_STATES: Final = {
    (*sent, *steps): state
    for sent, (steps, state) in product(
        [(), (_SENT,)],
        [
            (_BEGUN[:1], "RECEIVED"),
            (_BEGUN, "STARTED"),
            ((*_BEGUN, _SUCCEEDED), "SUCCESS"),
            ((*_BEGUN, "task-failed"), "FAILURE"),
        ],
    )
}
#: How often a task was tried before, when it is to begin, and by when.
_AT_ONCE: Final = (0, None, None)


def usual_values(account: Account) -> tuple[Any, ...] | None:
    """Return what a state says of a task, from its name to its routing key.

    That is in the order of the columns.  None if its life was not as simple as
    that.
    """
    steps = account.steps
    state = _STATES.get(tuple([step.kind for step in steps]))
    if state is None or account.ahead:
        return None
    client = queue = exchange = key = sent = None
    if steps[0].kind == _SENT:
        sending, *steps = steps
        client, *announced, queue, exchange, key = sending.values
        sent = sending.at
        if tuple(announced) != steps[0].values[1:]:
            return None
    hostname, name, args, kwargs, root, parent, *how = steps[0].values
    if not (
        hostname
        and tuple(how) == _AT_ONCE
        and args.__class__ is kwargs.__class__ is str
        and "" not in {name, root, parent}
        and all(step.values[0] == hostname for step in steps)
    ):
        return None
    received = steps[0].at
    started = steps[1].at if len(steps) > 1 else None
    wait = None if started is None else started - (received if sent is None else sent)
    return (
        *(name, state, hostname, *_AT_ONCE, sent, received, started),
        *_end(steps),
        *(None, None, None, None, None, wait, args, kwargs, root, parent),
        *(client, queue, exchange, key),
    )


def _end(steps: list[Step]) -> tuple[Any, ...]:
    """Return when an attempt ended, its run time, result, exception and traceback."""
    if len(steps) <= len(_BEGUN):
        return (None, None, None, None, None)
    _, started, end = steps
    _, *told = end.values
    if end.kind != _SUCCEEDED:
        return (end.at, end.at - started.at, None, *told)
    result, runtime = told
    if runtime is None:
        runtime = end.at - started.at
    return (end.at, runtime, result, None, None)
