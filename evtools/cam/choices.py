"""What some of evcam's options can be; cheap to import for --help."""

from collections.abc import Mapping
from typing import Final, Literal, TypeAlias, get_args

LogFormat: TypeAlias = Literal["text", "json", "journal"]
Errand: TypeAlias = Literal["status", "stop", "check"]

LOG_FORMATS: Final[tuple[LogFormat, ...]] = get_args(LogFormat)
#: What else evcam can be told to do, in place of running.
ERRANDS: Final[tuple[Errand, ...]] = get_args(Errand)
#: Celery's names for levels, and logging's numbers.
LOG_LEVELS: Final[Mapping[str, int]] = {
    "DEBUG": 10,
    "INFO": 20,
    "WARNING": 30,
    "ERROR": 40,
    "CRITICAL": 50,
    "FATAL": 50,
}
