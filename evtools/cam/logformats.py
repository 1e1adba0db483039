"""Forms of a log line: text, JSON, systemd's journal."""

import json
import logging
import time
from collections.abc import Callable, Mapping
from typing import Final

from evtools.cam.choices import LogFormat
from evtools.text import hide_credentials, sanitize_lines

#: sd-daemon(3): the level of a line, in front of it.
_PRIORITIES: Final = ((50, 2), (40, 3), (30, 4), (20, 6), (0, 7))


class TextFormatter(logging.Formatter):
    """A line with the time in UTC and the level, for people.

    What follows a line break in the record is indented: nobody can forge a
    record by having a line break logged.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return as many lines as the record has."""
        text = "\n    ".join(_lines(self, record))
        return f"{_moment(record.created)} {record.levelname.lower()} {text}"


class JsonFormatter(logging.Formatter):
    """A JSON object with ts, level, logger, message and exception, for programs."""

    def format(self, record: logging.LogRecord) -> str:
        """Return one line, whatever is in the record."""
        fields = {
            "ts": _moment(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": hide_credentials(record.getMessage()),
        }
        if record.exc_info:
            fields["exception"] = hide_credentials(self.formatException(record.exc_info))
        return json.dumps(fields)


class JournalFormatter(logging.Formatter):
    """Lines with their level as the journal reads it, which adds the time itself."""

    def format(self, record: logging.LogRecord) -> str:
        """Return as many lines as the record has."""
        priority = next(n for level, n in _PRIORITIES if record.levelno >= level)
        return "\n".join(f"<{priority}>{line}" for line in _lines(self, record))


FORMATTERS: Final[Mapping[LogFormat, Callable[[], logging.Formatter]]] = {
    "text": TextFormatter,
    "json": JsonFormatter,
    "journal": JournalFormatter,
}


def _lines(formatter: logging.Formatter, record: logging.LogRecord) -> list[str]:
    text = hide_credentials(logging.Formatter.format(formatter, record).rstrip())
    return sanitize_lines(text).split("\n")


def _moment(created: float) -> str:
    seconds, millis = divmod(int(created * 1000), 1000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{millis:03}Z"
