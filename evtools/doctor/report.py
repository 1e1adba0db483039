"""Findings on stdout: lines for people, one JSON object for programs."""

import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from evtools.doctor.finding import Finding, Severity, worst
from evtools.doctor.options import DoctorOptions
from evtools.text import hide_credentials, pad, sanitize, width

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
_HEAD_COLS: Final = _SEVERITY_COLS + _CHECK_COLS + 2
#: Prose wants so much room beside severity and check, or else nearly all of it.
_PROSE_COLS: Final = 40
_NARROW_COLS: Final = 2


def tell(findings: Iterable[Finding], options: DoctorOptions) -> list[Finding]:
    """Print the findings, text as they are made; return all of them."""
    told = []
    for finding in findings:
        told.append(finding)
        if options.output == "text" and not _hides(finding, options):
            for line in lines(finding, colour=options.colour, cols=options.cols):
                print(line, flush=True)  # noqa: T201  (its answer)
    print(document(told) if options.output == "json" else summary(told))  # noqa: T201  (ditto)
    sys.stdout.flush()
    return told


def _hides(finding: Finding, options: DoctorOptions) -> bool:
    return options.quiet and finding.severity == "ok"


def lines(finding: Finding, *, colour: bool, cols: int = 0) -> Iterator[str]:
    """Yield a finding as lines of printable text.

    With `cols`, prose is broken to fit; commands stay whole, to be copied.  The text
    may have words of others, with passwords; advice is ours, with words in their place.
    """
    severity = pad(finding.severity, _SEVERITY_COLS)
    check = pad(finding.check, _CHECK_COLS)
    room = cols - _HEAD_COLS
    indent = " " * (_HEAD_COLS if not cols or room >= _PROSE_COLS else _NARROW_COLS)
    below = cols - len(indent)
    first, *rest = _broken(sanitize(hide_credentials(finding.text)), room, below)
    for line in filter(None, finding.advice.split("\n")):
        told = sanitize(line)
        rest += [told] if told.startswith(" ") else _broken(told, below, below)
    if colour:
        severity = f"{_COLOURS[finding.severity]}{severity}{_RESET}"
    yield f"{severity} {check} {first}"
    for line in rest:
        yield f"{indent}{line}"


def _broken(text: str, first_cols: int, cols: int) -> list[str]:
    """Break prose between words; a word alone may still be too long."""
    if cols <= 0:
        return [text]
    broken: list[str] = []
    line, *words = text.split(" ")
    for word in words:
        longer = f"{line} {word}"
        if width(longer) > (cols if broken else first_cols):
            broken.append(line)
            longer = word
        line = longer
    return [*broken, line]


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
                    "text": hide_credentials(finding.text),
                    "advice": finding.advice,
                }
                for finding in found
            ],
        }
    )
