"""A finding: what was looked at, how bad it is, what it means, what to type."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

Severity: TypeAlias = Literal["ok", "note", "warning", "problem"]

#: From good to bad, with the status that the doctor ends with.  1 and 2 are not
#: among them: they say that the doctor itself has failed.
STATUSES: Final[Mapping[Severity, int]] = {"ok": 0, "note": 0, "warning": 3, "problem": 4}

_RANKS: Final[Mapping[Severity, int]] = {severity: rank for rank, severity in enumerate(STATUSES)}


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check has found.

    `check` is its name; `text` is one line: what is the case; `advice` may
    have several lines: what that means and what to type.  Both may hold what
    came over the wire: they are sanitised when they are printed.
    """

    check: str
    severity: Severity
    text: str
    advice: str = ""


def worst(findings: Iterable[Finding]) -> Severity:
    """Return the worst severity; without findings all is well."""
    severities = (finding.severity for finding in findings)
    return max(severities, key=_RANKS.__getitem__, default="ok")
