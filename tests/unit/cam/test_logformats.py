import json
import logging
import sys

import pytest

from evtools.cam.choices import LOG_FORMATS
from evtools.cam.logformats import FORMATTERS


def record(text, *values, level=logging.WARNING, exc_info=None):
    made = logging.LogRecord("evtools.cam.x", level, "x.py", 1, text, values, exc_info)
    made.created = 1_795_186_532.103
    return made


def failure():
    try:
        int("no redis://:s3kr1t@h/0\nhere")
    except ValueError:
        return sys.exc_info()
    return None


def test_every_format_has_its_formatter():
    assert tuple(FORMATTERS) == LOG_FORMATS


def test_text_has_the_time_the_level_and_the_message():
    line = FORMATTERS["text"]().format(record("%d shots", 3))
    assert line == "2026-11-20T14:55:32.103Z warning 3 shots"


def test_a_line_break_forges_no_record():
    forged = "2026-11-20T14:55:32.103Z critical all is lost"
    line = FORMATTERS["text"]().format(record("name %s", f"x\n{forged}"))
    assert line == f"2026-11-20T14:55:32.103Z warning name x\n    {forged}"


def test_a_traceback_is_below_its_line():
    lines = FORMATTERS["text"]().format(record("failed", exc_info=failure()))
    first, *rest = lines.split("\n")
    assert first.endswith("warning failed")
    assert rest[0] == "    Traceback (most recent call last):"
    assert all(line.startswith("    ") for line in rest)
    assert "s3kr1t" not in lines


def test_json_is_one_object_on_one_line():
    line = FORMATTERS["json"]().format(record("a\nb \x1b", exc_info=failure()))
    told = json.loads(line)
    assert "\n" not in line
    assert "\x1b" not in line
    assert "s3kr1t" not in line
    assert told.pop("exception").startswith("Traceback")
    assert told == {
        "ts": "2026-11-20T14:55:32.103Z",
        "level": "warning",
        "logger": "evtools.cam.x",
        "message": "a\nb \x1b",
    }
    assert "exception" not in json.loads(FORMATTERS["json"]().format(record("x")))


@pytest.mark.parametrize(
    ("level", "priority"),
    [
        (logging.CRITICAL, 2),
        (logging.ERROR, 3),
        (logging.WARNING, 4),
        (logging.INFO, 6),
        (logging.DEBUG, 7),
        (1, 7),
    ],
)
def test_the_journal_gets_the_level_of_each_line(level, priority):
    text = FORMATTERS["journal"]().format(record("a\nb", level=level))
    assert text == f"<{priority}>a\n<{priority}>b"


@pytest.mark.parametrize("name", LOG_FORMATS)
def test_nothing_harms_a_terminal_or_shows_a_password(name):
    text = FORMATTERS[name]().format(record("\x1b[2J amqp://u:s3kr1t@h \u202e"))
    assert text.isprintable()
    assert "s3kr1t" not in text
