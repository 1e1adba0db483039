"""Blocks for people."""

from textwrap import dedent

from evtools.dump.formats.pretty import make
from evtools.dump.formatter import FormatOptions
from evtools.wire import Record
from tools.gaps import gap


def block(event, joined=(), **options):
    formatter = make(FormatOptions(timestamps="utc", **options))
    assert formatter.header() == b""
    return formatter.format(Record(event, dict(joined))).decode()


def test_every_field_has_its_line():
    event = {
        "type": "task-failed",
        "timestamp": 12.0,
        "uuid": "u1",
        "exception": "ExceptionWithTraceback()",
        "traceback": "Traceback:\n  File\n\nTimeLimitExceeded(3,)\n",
        "retries": None,
    }
    assert block(event, {"name": "proj.boom"}) == dedent("""\
        task-failed  00:00:12.000Z
          uuid       u1
          exception  ExceptionWithTraceback()
          traceback
              Traceback:
                File

              TimeLimitExceeded(3,)
          timestamp  12.0
          retries    null
          name       proj.boom  (joined)
          exception  TimeLimitExceeded(3,)  (from traceback)

        """)


def test_an_event_of_nothing_is_its_title():
    assert block({"type": "x"}) == "x  -\n\n"


def test_a_gap_is_a_sentence_and_its_fields():
    text = block(gap("reconnect", 1.0, 5.2))
    assert text.startswith(
        "evdump-gap  00:00:05.200Z\n  4.20s without events: reconnect\n  reason  "
    )


def test_a_traceback_of_one_line_or_no_text_stands_beside_its_name():
    assert "  traceback  x\n" in block({"type": "x", "traceback": "x"})
    assert "  traceback  [1]\n" in block({"type": "x", "traceback": [1]})


def test_control_characters_stay_visible():
    text = block({"type": "x\x1b[2J", "a\nb": "\u202e", "traceback": "a\x1b\nb"})
    assert text.replace("\n", "").isprintable()
    assert "  a\\nb      " in text


def test_a_long_value_is_cut_and_the_cut_shows():
    event = {"type": "x", "args": "y" * 10_000, "z": "\u0301" * 5000}
    text = block(event)
    assert "y" * 999 + "…\n" in text
    assert "y" * 1000 not in text
    assert "\u0301…\n" in text
    assert "y" * 10_000 in block(event, full=True)


def test_colour_is_for_titles_and_labels():
    text = block({"type": "x", "pid": 7}, colour=True)
    assert text == "\x1b[1mx\x1b[0m  -\n  \x1b[2mpid\x1b[0m  7\n\n"
