"""The states of a task: which event enters which, and which of them are final."""

from typing import Final

PENDING: Final = "PENDING"
RECEIVED: Final = "RECEIVED"
STARTED: Final = "STARTED"
SUCCESS: Final = "SUCCESS"
FAILURE: Final = "FAILURE"
RETRY: Final = "RETRY"
REVOKED: Final = "REVOKED"
REJECTED: Final = "REJECTED"
CANCELLED: Final = "CANCELLED"

#: The states a worker ends an attempt in, the one that counts most first: a task
#: that rejects its message without requeue also fails, one that is terminated
#: while it ends also succeeds, and the result backend holds what counts here.
ENDS: Final = (SUCCESS, FAILURE, REVOKED, CANCELLED, REJECTED, RETRY)

#: The states nothing follows, as far as this delivery of the message goes.
FINAL_STATES: Final = frozenset(ENDS) - {RETRY}
#: The states of tasks whose worker has them.
ACTIVE_STATES: Final = frozenset({RECEIVED, STARTED})

#: The attribute of a task that holds when it entered a state.
MOMENTS: Final = {
    PENDING: "sent",
    RECEIVED: "received",
    STARTED: "started",
    SUCCESS: "succeeded",
    FAILURE: "failed",
    RETRY: "retried",
    REVOKED: "revoked",
    REJECTED: "rejected",
    CANCELLED: "cancelled",
}
#: The state that the event `task-NAME` enters, by NAME.
EVENT_STATES: Final = {moment: state for state, moment in MOMENTS.items()}
