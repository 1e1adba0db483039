"""The doctor at work: from settings to a status."""

from evtools.clock import SystemClock
from evtools.doctor.case import Case
from evtools.doctor.checks import examine
from evtools.doctor.finding import STATUSES, worst
from evtools.doctor.options import DoctorOptions
from evtools.doctor.report import tell
from evtools.transport import ConnectionSettings


def run(options: DoctorOptions, settings: ConnectionSettings) -> int:
    """Examine, print the findings and return the status of the worst one."""
    case = Case(settings, options, SystemClock())
    try:
        return STATUSES[worst(tell(examine(case), options))]
    finally:
        case.close()
