"""The checks in their order, and the walk through them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from evtools.doctor.case import Case
from evtools.doctor.finding import Finding
from evtools.doctor.ground import check_elsewhere, check_exchange, check_permissions, check_queue
from evtools.doctor.judging import (
    check_clocks,
    check_events,
    check_heartbeats,
    check_task_events,
    check_workers,
)
from evtools.doctor.orphans import check_orphans
from evtools.doctor.reaching import (
    advise,
    check_kind,
    check_login,
    check_name,
    check_port,
    check_tls,
)
from evtools.errors import EvtoolsError
from evtools.transport.errors import FAILURES, diagnose


@dataclass(frozen=True, slots=True)
class Check:
    """One check; after a problem with a `vital` one the others make no sense."""

    name: str
    run: Callable[[Case], Iterator[Finding]]
    vital: bool = False


CHECKS: Final[tuple[Check, ...]] = (
    Check("broker", check_kind, vital=True),
    Check("name", check_name, vital=True),
    Check("port", check_port, vital=True),
    Check("tls", check_tls, vital=True),
    Check("login", check_login, vital=True),
    Check("exchange", check_exchange),
    Check("permissions", check_permissions),
    Check("queue", check_queue),
    Check("events", check_events),
    Check("workers", check_workers),
    Check("task-events", check_task_events),
    Check("heartbeats", check_heartbeats),
    Check("clocks", check_clocks),
    Check("elsewhere", check_elsewhere),
    Check("orphans", check_orphans),
)

#: Layers where a connection that was good ends.
_LOST: Final = ("TCP", "TLS", "timeout")
_GONE: Final = "A moment ago it let us in: is it busy or frozen, or has it ended?"


def examine(case: Case) -> Iterator[Finding]:
    """Yield the findings of all checks, as they are made."""
    for number, check in enumerate(CHECKS):
        severities = set()
        for finding in _run(check, case):
            severities.add(finding.severity)
            yield finding
        if case.lost or (check.vital and "problem" in severities):
            rest = ", ".join(later.name for later in CHECKS[number + 1 :])
            if rest:
                yield Finding("skipped", "note", f"could not be checked: {rest}")
            return


def _run(check: Check, case: Case) -> Iterator[Finding]:
    """Turn what goes wrong with the broker into a finding, too."""
    try:
        yield from check.run(case)
    except EvtoolsError as error:
        yield Finding(check.name, "problem", error.message, error.hint)
    except FAILURES as error:
        told = diagnose(error, case.settings)
        case.lost = case.examined is not None and told.layer in _LOST
        text = f"the broker is gone: {told.text}" if case.lost else told.what
        advice = _GONE if case.lost else advise(told, case)
        yield Finding(check.name, "problem", text, advice)
