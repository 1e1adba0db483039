"""What is known of the patient while the checks go on."""

from dataclasses import dataclass, field

from evtools.clock import Clock
from evtools.doctor.inspect.base import Examination
from evtools.doctor.netprobe import Place
from evtools.doctor.observation import Observation
from evtools.doctor.options import DoctorOptions
from evtools.transport import ConnectionSettings


@dataclass(slots=True)
class Case:
    """What earlier checks have found out for later ones.

    `places` are those of the broker's addresses that have passed so far, by
    their position in the URL; `examination` is there after the login, and
    `observation` says something after the listening.  After the login, the
    connection to the broker may get `lost`.
    """

    settings: ConnectionSettings
    options: DoctorOptions
    clock: Clock
    places: dict[int, Place] = field(default_factory=dict)
    examined: Examination | None = None
    exchange_exists: bool = True
    may_listen: bool = True
    has_mailboxes: bool = True
    observation: Observation = field(default_factory=Observation)
    lost: bool = False

    @property
    def attempt(self) -> int:
        """The position of the first address that has passed so far."""
        return min(self.places, default=0)

    @property
    def examination(self) -> Examination:
        """The open examination; only after the login."""
        assert self.examined is not None
        return self.examined

    @property
    def can_listen(self) -> bool:
        """Whether events can come; if not, an earlier check has said why."""
        return self.exchange_exists and self.may_listen

    def close(self) -> None:
        """Leave the broker."""
        if self.examined is not None:
            self.examined.close()
