"""A plugin for pytest: run Celery's own tests of events with our classes.

They take the place of Celery's before a test is imported.  A test in `EXCEPTIONS`
has to fail, and to be there.
"""

import celery.events
import celery.events.dispatcher
import celery.events.event
import celery.events.receiver
import celery.events.snapshot
import celery.events.state
import pytest

import evtools
from evtools.state import heartbeat_expires

_PLACES = {
    celery.events: ("Event", "EventDispatcher", "EventReceiver", "State"),
    celery.events.dispatcher: ("Event", "EventDispatcher"),
    celery.events.event: ("Event", "get_exchange", "group_from"),
    celery.events.receiver: ("EventReceiver",),
    celery.events.snapshot: ("Polaroid",),
    celery.events.state: ("State", "Task", "Worker"),
}

#: What does not pass, and why; "library" where evtools-library(3) lists it.
EXCEPTIONS = {
    "test_EventReceiver::test_accept_argument": (
        "library: a serialiser that evtools does not have is refused, and this asks for app/foo"
    ),
    "test_EventReceiver::test_event_queue_durable_and_validation": (
        "library: the error is evtools.errors.ImproperlyConfigured, as Celery need not be installed"
    ),
    "test_Worker::test_drift_warning": (
        "library: a clock that is off is a number, worker.skew, and no line in a log; "
        "it looks at a function of Celery's module"
    ),
    "test_Task::test_merge": (
        "library: the order of events does not matter, so a retry before the failure "
        "of the same attempt changes nothing; and arguments are text, as in events"
    ),
    "test_State::test_task_states": (
        "library: the order of events does not matter: of an attempt that was revoked, "
        "retried, failed and succeeded, one end counts"
    ),
    "test_State::test_limits_maxtasks": "looks at the private _taskheap",
    "test_State::test_tasks_to_resolve_is_bounded": ("looks at the private _tasks_to_resolve"),
}

for module, names in _PLACES.items():
    for name in names:
        setattr(module, name, getattr(evtools, name))
celery.events.state.heartbeat_expires = heartbeat_expires


def pytest_collection_modifyitems(items):
    """Expect the exceptions to fail."""
    unknown = set(EXCEPTIONS)
    for item in items:
        name = item.nodeid.partition("::")[2].partition("[")[0]
        if name in EXCEPTIONS:
            unknown.discard(name)
            item.add_marker(pytest.mark.xfail(reason=EXCEPTIONS[name], strict=True))
    if unknown:
        raise pytest.UsageError(f"Celery has no such tests: {sorted(unknown)}")
