"""Findings, and what earlier checks have found out for later ones."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias

from evtools.clock import Clock
from evtools.doctor.inspect.base import BrokerInspector
from evtools.doctor.netprobe import Endpoint
from evtools.doctor.observation import Observation
from evtools.doctor.options import DoctorOptions
from evtools.transport import ConnectionSettings

Severity: TypeAlias = Literal["ok", "note", "warning", "problem"]
#: From good to bad, with the exit status of the doctor.  1 and 2 are not among them:
#: they say that the doctor itself has failed.
STATUSES: Final[Mapping[Severity, int]] = {"ok": 0, "note": 0, "warning": 3, "problem": 4}

_NAMES_SHOWN: Final = 5


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check has found.

    `text` is one line; `advice` may have several: what it means and what to type.  Both
    may hold what came over the wire: they are sanitised when they are printed.
    """

    check: str
    severity: Severity
    text: str
    advice: str = ""


@dataclass(slots=True)
class Context:
    """What earlier checks have found out for later ones.

    `endpoints` are those of the broker's addresses that have passed so far, by their
    position in the URL; `inspector` is there after the login, `observation` after
    listening.  The connection may be `lost` after the login.
    """

    settings: ConnectionSettings
    options: DoctorOptions
    clock: Clock
    endpoints: dict[int, Endpoint] = field(default_factory=dict)
    opened: BrokerInspector | None = None
    exchange_exists: bool = True
    may_listen: bool = True
    has_mailboxes: bool = True
    observation: Observation = field(default_factory=Observation)
    lost: bool = False

    @property
    def attempt(self) -> int:
        """The position of the first address that has passed so far."""
        return min(self.endpoints, default=0)

    @property
    def inspector(self) -> BrokerInspector:
        """The open inspector; only after the login."""
        assert self.opened is not None
        return self.opened

    @property
    def can_listen(self) -> bool:
        """Whether events can come; if not, an earlier check has said why."""
        return self.exchange_exists and self.may_listen

    def names(self, names: Sequence[str]) -> str:
        """Return names as a list for people, which is cut unless --verbose is given."""
        shown = names if self.options.verbose else names[:_NAMES_SHOWN]
        more = len(names) - len(shown)
        return ", ".join(shown) + (f" and {more} more" if more else "")


def counted(number: int, noun: str) -> str:
    """Return a number with its noun: 1 worker, 2 workers."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
