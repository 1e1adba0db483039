"""Findings on stdout: lines for people, one JSON object for programs."""

import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from evtools.doctor.finding import Finding, Severity, worst
from evtools.doctor.options import DoctorOptions
from evtools.text import pad, sanitize

#: How a terminal shows a severity.
_COLOURS: Final[Mapping[Severity, str]] = {
    "ok": "\x1b[32m",
    "note": "\x1b[36m",
    "warning": "\x1b[33m",
    "problem": "\x1b[1;31m",
}
_RESET: Final = "\x1b[0m"
_SEVERITY_COLS: Final = 8
_CHECK_COLS: Final = 12
_INDENT: Final = " " * (_SEVERITY_COLS + _CHECK_COLS + 2)


def tell(findings: Iterable[Finding], options: DoctorOptions) -> list[Finding]:
    """Print the findings, text as they are made; return all of them."""
    told = []
    for finding in findings:
        told.append(finding)
        if options.output == "text" and not _hides(finding, options):
            for line in lines(finding, colour=options.colour):
                print(line, flush=True)  # noqa: T201  (its answer)
    print(document(told) if options.output == "json" else summary(told))  # noqa: T201  (ditto)
    sys.stdout.flush()
    return told


def _hides(finding: Finding, options: DoctorOptions) -> bool:
    return options.quiet and finding.severity == "ok"


def lines(finding: Finding, *, colour: bool) -> Iterator[str]:
    """Yield a finding as lines of printable text."""
    severity = pad(finding.severity, _SEVERITY_COLS)
    if colour:
        severity = f"{_COLOURS[finding.severity]}{severity}{_RESET}"
    yield f"{severity} {pad(finding.check, _CHECK_COLS)} {sanitize(finding.text)}"
    for line in filter(None, finding.advice.split("\n")):
        yield _INDENT + sanitize(line)


def summary(findings: Iterable[Finding]) -> str:
    """Return how many there are that matter."""
    severities = [finding.severity for finding in findings]
    counts = [
        f"{number} {severity}{'s' if number > 1 else ''}"
        for severity in ("problem", "warning", "note")
        if (number := severities.count(severity))
    ]
    return ", ".join(counts) or "all is well"


def document(findings: Iterable[Finding]) -> str:
    """Return all findings as one line of JSON, which escapes by construction."""
    found = list(findings)
    return json.dumps(
        {
            "worst": worst(found),
            "findings": [
                {
                    "check": finding.check,
                    "severity": finding.severity,
                    "text": finding.text,
                    "advice": finding.advice,
                }
                for finding in found
            ],
        }
    )
