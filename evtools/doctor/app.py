"""The doctor at work: the checks in their order, and the report of what they find."""

import json
import signal
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import astuple, replace
from types import FrameType
from typing import Final, NamedTuple

from evtools import signals
from evtools.clock import SystemClock
from evtools.doctor import broker, network, workers
from evtools.doctor.context import STATUSES, Context, DoctorOptions, Finding, Severity, counted
from evtools.errors import EvtoolsError
from evtools.text import hide_credentials, pad, sanitize, width
from evtools.transport import ConnectionSettings
from evtools.transport.errors import FAILURES, diagnose


class Check(NamedTuple):
    """One check; after a problem with a `vital` one the others make no sense."""

    name: str
    run: Callable[[Context], Iterator[Finding]]
    vital: bool = False


CHECKS: Final[tuple[Check, ...]] = (
    Check("broker", network.check_kind, vital=True),
    Check("name", network.check_name, vital=True),
    Check("port", network.check_port, vital=True),
    Check("tls", network.check_tls, vital=True),
    Check("login", network.check_login, vital=True),
    Check("exchange", broker.check_exchange),
    Check("permissions", broker.check_permissions),
    Check("queue", broker.check_queue),
    Check("events", workers.check_events),
    Check("workers", workers.check_workers),
    Check("task-events", workers.check_task_events),
    Check("heartbeats", workers.check_heartbeats),
    Check("clocks", workers.check_clocks),
    Check("elsewhere", broker.check_elsewhere),
    Check("orphans", broker.check_orphans),
)

#: Layers where a connection that was good ends.
_LOST: Final = ("TCP", "TLS", "timeout")
_GONE: Final = "A moment ago it let us in: is it busy or frozen, or has it ended?"


def run(options: DoctorOptions, settings: ConnectionSettings) -> int:
    """Examine, print the findings and return the exit status of the worst one."""

    def end(number: int, _frame: FrameType | None) -> None:
        # As an exception, so that a --broker-command that hangs ends, too.
        raise SystemExit(128 + number)

    context = Context(settings, options, SystemClock())
    before = signals.install({signal.SIGTERM: end, signal.SIGHUP: end})
    try:
        return STATUSES[report(examine(context), options)]
    finally:
        signals.put_back(before)
        if context.opened is not None:
            context.opened.close()


def examine(context: Context) -> Iterator[Finding]:
    """Yield the findings of all checks, as they are made."""
    for number, check in enumerate(CHECKS):
        severities = set()
        for finding in _run(check, context):
            severities.add(finding.severity)
            yield replace(finding, check=finding.check or check.name)
        if context.lost or (check.vital and "problem" in severities):
            if rest := ", ".join(later.name for later in CHECKS[number + 1 :]):
                yield Finding("note", f"could not be checked: {rest}", check="skipped")
            return


def _run(check: Check, context: Context) -> Iterator[Finding]:
    # What goes wrong with the broker is a finding, too.
    try:
        yield from check.run(context)
    except EvtoolsError as error:
        yield Finding("problem", error.message, error.hint)
    except FAILURES as error:
        diagnosis = diagnose(error, context.settings)
        context.lost = context.opened is not None and diagnosis.layer in _LOST
        if context.lost:
            yield Finding("problem", f"the broker is gone: {diagnosis.text}", _GONE)
        else:
            yield Finding("problem", diagnosis.what, network.advise(diagnosis, context))


_COLOURS: Final[Mapping[Severity, str]] = {
    "ok": "\x1b[32m", "note": "\x1b[36m", "warning": "\x1b[33m", "problem": "\x1b[1;31m"
}  # fmt: skip
_RESET: Final = "\x1b[0m"
_SEVERITY_COLS: Final = 8
_CHECK_COLS: Final = 12
_HEAD_COLS: Final = _SEVERITY_COLS + _CHECK_COLS + 2
#: The width prose wants beside severity and check; where there is less, it takes nearly
#: the whole line below them.
_PROSE_COLS: Final = 40
_NARROW_COLS: Final = 2


def report(findings: Iterable[Finding], options: DoctorOptions) -> Severity:
    """Print the findings, text as they are made; return the worst severity."""
    found: list[Finding] = []
    for finding in findings:
        found.append(finding)
        if options.output == "text" and not (options.quiet and finding.severity == "ok"):
            for line in lines(finding, colour=options.colour, cols=options.cols):
                print(line, flush=True)  # noqa: T201  (its output)
    severities, ranks = [finding.severity for finding in found], list(STATUSES)
    worst: Severity = max(severities, key=ranks.index, default="ok")
    if options.output == "json":
        rows = [
            {"check": check, "severity": severity, "text": hide_credentials(text), "advice": advice}
            for severity, text, advice, check in map(astuple, found)
        ]
        last = json.dumps({"worst": worst, "findings": rows})  # which escapes
    else:
        numbers = {severity: severities.count(severity) for severity in reversed(ranks[1:])}
        counts = [counted(number, severity) for severity, number in numbers.items() if number]
        last = ", ".join(counts) or "all is well"
    print(last, flush=True)  # noqa: T201
    return worst


def lines(finding: Finding, *, colour: bool, cols: int = 0) -> Iterator[str]:
    """Yield a finding as lines of printable text.

    With `cols`, prose is wrapped to fit; commands stay whole, to be copied.  The text may
    quote others, passwords included; advice is ours, with words in place of passwords.
    """
    severity, check = pad(finding.severity, _SEVERITY_COLS), pad(finding.check, _CHECK_COLS)
    room = cols - _HEAD_COLS
    indent = " " * (_HEAD_COLS if not cols or room >= _PROSE_COLS else _NARROW_COLS)
    below = cols - len(indent)
    first, *rest = _wrapped(sanitize(hide_credentials(finding.text)), room, below)
    for line in filter(None, map(sanitize, finding.advice.split("\n"))):
        rest += [line] if line.startswith(" ") else _wrapped(line, below, below)
    if colour:
        severity = f"{_COLOURS[finding.severity]}{severity}{_RESET}"
    yield f"{severity} {check} {first}"
    for line in rest:
        yield f"{indent}{line}"


def _wrapped(text: str, first_cols: int, cols: int) -> list[str]:
    # Prose is broken between words; a word alone may still be too long.
    if cols <= 0:
        return [text]
    broken: list[str] = []
    line, *words = text.split(" ")
    for word in words:
        if width(f"{line} {word}") > (cols if broken else first_cols):
            broken.append(line)
            line = word
        else:
            line += f" {word}"
    return [*broken, line]
