"""The formats: what all of them promise, and each by itself."""

import csv
import io
import json
import math
import time
from textwrap import dedent

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evtools.dump.formats import (
    CSV_COLUMNS,
    TimestampFormatter,
    gap_sentence,
    moment_of,
    real_exception,
    runtime_of,
)
from evtools.dump.options import OUTPUTS, TIMESTAMPS, DumpOptions
from evtools.dump.output import FORMATS
from evtools.wire import GAP, encode_line, envelope, open_envelope
from tools.gaps import gap
from tools.typed import event_of

#: How fast it goes is for the benchmarks to say.
UNHURRIED = settings(max_examples=40, deadline=None)

TEMPLATE = "{ts} {type:>20} {name!j} {uuid:8} {runtime:.3f} {args:<5.3} {retries:d}"

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-(10**400), 10**400)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]))
    | st.sampled_from(["ExceptionWithTraceback()", "a\nb", "\x1b[2J", "=1+1", "(1,)"]),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)
# fmt: off
field_names = st.sampled_from([
    "uuid", "name", "args", "kwargs", "hostname", "timestamp", "runtime", "exception",
    "traceback", "result", "loadavg", "reason", "duration", "error", "missed", "dropped",
    "local_received", "started", "root_id", "v", "own", "terminated", "sw_ver", "queue", "",
])
# fmt: on
field_names |= st.text(st.characters(exclude_categories=["Cs"]))
# fmt: off
types = st.sampled_from([
    "task-sent", "task-received", "task-started", "task-succeeded", "task-failed", "task-revoked",
    "task-progress", "worker-heartbeat", "worker-online", "x\x1b[2Jy\n", "\u202e", GAP,
])
# fmt: on
events = st.builds(
    lambda kind, fields: {**fields, "type": kind},
    types,
    st.dictionaries(field_names, values, max_size=10),
)
joins = st.dictionaries(
    st.sampled_from(["name", "args", "kwargs", "queue", "started", "root_id"]), values
)


def joined_to(event, joined):
    return event_of(event, {key: joined[key] for key in joined if key not in event})


def formatter(name, **options):
    return FORMATS[name](DumpOptions(**{"template": TEMPLATE, **options}))


def shown(name, event, joined=None, **options):
    return formatter(name, **options).format(event_of(event, joined)).decode()


@pytest.mark.parametrize("name", [name for name in OUTPUTS if name != "pretty"])
@UNHURRIED
@given(event=events, joined=joins, verbosity=st.integers(-1, 3), full=st.booleans())
def test_any_event_is_one_safe_line(name, event, joined, verbosity, full):
    made = formatter(name, verbosity=verbosity, full=full)
    line = made.format(joined_to(event, joined)).decode()
    assert line.endswith("\n")
    assert line[:-1].isprintable()


@UNHURRIED
@given(event=events, joined=joins)
def test_any_event_is_a_safe_block(event, joined):
    block = formatter("pretty").format(joined_to(event, joined)).decode()
    assert block.endswith("\n\n")
    assert block.replace("\n", "").isprintable()


@UNHURRIED
@given(event=events, joined=joins, quiet=st.booleans())
def test_a_terminal_never_gets_another_control_than_our_colours(event, joined, quiet):
    made = formatter("text", verbosity=2, multiline=True, colour=True, quiet=quiet)
    text = made.format(joined_to(event, joined)).decode()
    for paint in ("\x1b[0m", *(f"\x1b[{code}m" for code in ("1", "2", "7"))):
        text = text.replace(paint, "")
    for colour in range(31, 37):
        text = text.replace(f"\x1b[{colour}m", "").replace(f"\x1b[1;{colour}m", "")
    assert text.replace("\n", "").isprintable()


@pytest.mark.parametrize("name", OUTPUTS)
@UNHURRIED
@given(
    timestamps=st.sampled_from(TIMESTAMPS), stream=st.lists(st.tuples(events, joins), max_size=2)
)
def test_a_replay_prints_the_same_bytes_as_the_live_run(name, timestamps, stream):
    live = formatter(name, verbosity=2, timestamps=timestamps)
    replay = formatter(name, verbosity=2, timestamps=timestamps)
    for event, joined in stream:
        typed = joined_to(event, joined)
        line = encode_line(envelope(typed.as_dict(), typed.joined))
        assert replay.format(event_of(*open_envelope(json.loads(line)))) == live.format(typed)


# --- json, raw, logfmt ------------------------------------------------------------


def test_json_is_the_envelope_and_raw_the_event_alone():
    event, joined = {"pid": 1, "type": "task-failed"}, {"name": "proj.boom"}
    line = {"v": 1, **event, **joined, "joined": ["name"]}
    assert json.loads(shown("json", event, joined)) == line
    assert shown("raw", event, joined) == '{"type":"task-failed","pid":1}\n'


def test_pairs_stand_in_the_order_of_the_envelope():
    event = {"pid": 7, "uuid": "u-1", "type": "task-failed", "timestamp": 1.5}
    assert shown("logfmt", event, {"name": "proj.boom"}) == (
        "ts=1970-01-01T00:00:01.500000Z type=task-failed uuid=u-1 "
        'timestamp=1.5 pid=7 name=proj.boom joined="[\\"name\\"]"\n'
    )


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "null"),
        (True, "true"),
        (10**20, "100000000000000000000"),
        (0.1, "0.1"),
        ("", '""'),
        ("null", '"null"'),
        ("true", '"true"'),
        ("-1.5e3", '"-1.5e3"'),
        ("5.6.2", '"5.6.2"'),
        ("a b", '"a b"'),
        ("a=b", '"a=b"'),
        ('say "x"', '"say \\"x\\""'),
        ("back\\slash", '"back\\\\slash"'),
        ("two\nlines", '"two\\nlines"'),
        ("\x1b[2J\u202e", '"\\u001b[2J\\u202e"'),
        ("Grüße", "Grüße"),
        ([1, "a"], '"[1,\\"a\\"]"'),
        ({}, '"{}"'),
    ],
)
def test_values_are_quoted_where_that_is_needed(value, text):
    assert shown("logfmt", {"type": "x", "k": value}) == f"type=x k={text}\n"


@pytest.mark.parametrize(
    ("key", "written"), [("a b", "a_b"), ('a="\\', "a___"), ("", "_"), ("\n", "_n")]
)
def test_keys_cannot_be_mistaken(key, written):
    assert shown("logfmt", {"type": "x", key: 1}) == f"type=x {written}=1\n"


def test_a_version_of_the_event_itself_is_kept():
    assert shown("logfmt", {"type": "x", "v": 3}) == 'type=x v=3 own="[\\"v\\"]"\n'


def test_a_gap_is_a_line_with_its_reason():
    assert shown("logfmt", gap("worker", 1.0, 2.0, missed=3)) == (
        "type=evdump-gap reason=worker from=1.0 to=2.0 duration=1.0 missed=3 local_received=2.0\n"
    )


# --- csv --------------------------------------------------------------------------


def read(event, joined=None):
    """The row of an event as a reader of CSV sees it."""
    made = formatter("csv")
    data = made.header + made.format(event_of(event, joined))
    assert data.count(b"\n") == 2
    [row] = csv.DictReader(io.StringIO(data.decode(), newline=""))
    return {**row, "fields": json.loads(row["fields"])}


def test_every_field_of_event_and_task_has_its_place():
    event = {
        "type": "task-failed",
        "uuid": "u1",
        "hostname": "w@h",
        "timestamp": 12.0,
        "exception": "KeyError(1)",
        "pid": 7,
    }
    joined = {"name": "proj.boom", "args": "(1, 2)", "started": 10.0, "sent": 9.0}
    row = read(event, joined)
    assert row == {
        **dict.fromkeys(CSV_COLUMNS, ""),
        "ts": "1970-01-01T00:00:12.000000Z",
        "type": "task-failed",
        "hostname": "w@h",
        "uuid": "u1",
        "name": "proj.boom",
        "args": "(1, 2)",
        "runtime": "2.0",
        "exception": "KeyError(1)",
        "fields": {"timestamp": 12.0, "pid": 7, "started": 10.0, "sent": 9.0},
    }


def test_the_real_exception_has_the_column_and_the_told_one_is_kept():
    event = {
        "type": "task-failed",
        "exception": "ExceptionWithTraceback()",
        "traceback": "x\nTimeLimitExceeded(3,)\n",
    }
    row = read(event)
    assert row["exception"] == "TimeLimitExceeded(3,)"
    assert row["fields"] == {"exception": event["exception"], "traceback": event["traceback"]}


# fmt: off
CELLS = [
    *(("args", f"{start}1|' /C c'!A0", f"'{start}1|' /C c'!A0")
      for start in (*"=+-@", "\uff1d", "\uff0b", "\uff0d", "\uff20")),
    *(("args", f"{blank}=1+1", f"{shown}=1+1")
      for blank, shown in (("\t", "\\t"), ("\r", "\\r"), ("\n", "\\n"))),
    *(("name", value, value) for value in ("a,b", 'say "x"', " padded ", "'", "plain", "ä")),
    ("retries", -1, "-1"),
    ("runtime", "soon", "soon"),
    ("name", "a\r\nb\x1b", "a\\r\\nb\\x1b"),
    ("args", [1, "a"], '[1,"a"]'),
    ("args", None, ""),
    ("ts", None, ""),
]
# fmt: on


@pytest.mark.parametrize(("name", "value", "shown"), CELLS)
def test_a_cell_is_harmless_and_quoted_where_that_is_needed(name, value, shown):
    assert read({"type": "task-failed", name: value})[name] == shown


def test_a_gap_says_all_in_its_fields():
    row = read(gap("reconnect", 1.0, 2.0, error="refused"))
    assert row["type"] == "evdump-gap"
    assert row["ts"] == "1970-01-01T00:00:02.000000Z"
    assert row["fields"]["reason"] == "reconnect"
    assert row["fields"]["error"] == "refused"


# --- pretty -----------------------------------------------------------------------


def block(event, joined=None, **options):
    return shown("pretty", event, joined, timestamps="utc", **options)


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


# --- times ------------------------------------------------------------------------

NOON = 1795186532.103655
EVENT = {"type": "x", "timestamp": NOON, "local_received": NOON + 5}


@pytest.mark.parametrize(
    ("way", "stamp"),
    [
        ("utc", "14:55:32.104Z"),
        ("iso", "2026-11-20T14:55:32.103655Z"),
        ("epoch", "1795186532.103655"),
        ("delta", "+0.000"),
        ("start", "+0.000"),
        ("none", ""),
    ],
)
def test_each_way_has_its_form(way, stamp):
    made = TimestampFormatter(way)
    assert made.format(event_of(EVENT)) == stamp
    assert made.cols >= len(stamp)


@pytest.fixture
def in_zone(monkeypatch):
    def go(name):
        monkeypatch.setenv("TZ", name)
        time.tzset()

    yield go
    monkeypatch.undo()
    time.tzset()


def test_local_is_the_time_of_day_in_the_zone_of_the_machine(in_zone):
    in_zone("XXX-3")
    assert TimestampFormatter("local").format(event_of(EVENT)) == "17:55:32.104"


def test_the_clock_is_right_again_after_every_second():
    times = ["00:00:00.500Z", "00:00:00.999Z", "00:00:01.000Z", "23:59:59.500Z"]
    assert after("utc", 0.5, 0.9994, 0.9996, -0.5) == times


def after(way, *moments):
    made = TimestampFormatter(way)
    return [made.format(event_of({"type": "x", "timestamp": moment})) for moment in moments]


def test_delta_is_since_the_event_before():
    assert after("delta", 5.0, 7.5, 7.0) == ["+0.000", "+2.500", "-0.500"]


def test_start_is_since_the_first_event():
    assert after("start", 5.0, 7.5, 4.0) == ["+0.000", "+2.500", "-1.000"]


def test_an_event_without_a_time_does_not_count_for_differences():
    assert after("delta", 5.0, None, 7.0) == ["+0.000", "-", "+2.000"]


@pytest.mark.parametrize("odd", [None, "1", True, [], math.nan, math.inf, 1e300, 1763380002000])
def test_an_odd_timestamp_gives_way_to_when_we_received_it(odd):
    assert moment_of(event_of({"type": "x", "timestamp": odd, "local_received": 7})) == 7.0
    assert moment_of(event_of({"type": "x", "timestamp": odd, "local_received": odd})) is None


def test_what_has_no_time_at_all_is_a_dash():
    assert TimestampFormatter("local").format(event_of({"type": "x"})) == "-"
    assert TimestampFormatter("none").format(event_of({"type": "x"})) == ""


@pytest.mark.parametrize("style", ["local", "utc"])
@pytest.mark.parametrize("moment", [253402300799.9999, -62135596800.0])
def test_a_time_at_the_edge_of_the_calendar_is_survived(in_zone, moment, style):
    for zone in ("XXX9", "XXX-9"):
        in_zone(zone)
        shown = TimestampFormatter(style).format(event_of({"type": "x", "timestamp": moment}))
        assert shown == "-" or shown.isprintable()


# --- values and sentences ---------------------------------------------------------


def failed(**fields):
    return event_of({"type": "task-failed", **fields}, {"started": 10.0})


def test_the_real_exception_of_a_hard_time_limit_ends_the_traceback():
    wrapped = {"exception": "ExceptionWithTraceback()"}
    traceback = "Traceback (most recent call last):\n  ...\nTimeLimitExceeded(3,)\n\n"
    assert real_exception(failed(**wrapped, traceback=traceback)) == "TimeLimitExceeded(3,)"
    assert real_exception(failed(**wrapped, traceback="\n")) == wrapped["exception"]
    assert real_exception(failed(**wrapped, traceback=7)) == wrapped["exception"]
    assert real_exception(failed(**wrapped)) == wrapped["exception"]


def test_another_exception_is_what_it_says():
    assert real_exception(failed(exception="KeyError(1)", traceback="x\ny")) == "KeyError(1)"
    assert real_exception(failed()) is None


def test_a_runtime_is_told_or_worked_out():
    assert runtime_of(failed(timestamp=10.25)) == 0.25
    assert runtime_of(failed(timestamp=10.25, runtime=7)) == 7.0


@pytest.mark.parametrize("timestamp", [9.0, None, "x"])
def test_a_runtime_that_cannot_be_is_unknown(timestamp):
    assert runtime_of(failed(timestamp=timestamp)) is None


def test_only_an_end_has_a_runtime():
    event = {"type": "task-progress", "timestamp": 11.0}
    assert runtime_of(event_of(event, {"started": 10.0})) is None


def test_a_runtime_needs_a_start():
    assert runtime_of(event_of({"type": "task-failed", "timestamp": 11.0})) is None


@pytest.mark.parametrize(
    ("event", "sentence"),
    [
        (
            gap("reconnect", 1.0, 5.2, error="Connection refused"),
            "4.20s without events: reconnect (Connection refused)",
        ),
        (gap("stopped", 1.0, 3.0), "2.00s without events: stopped"),
        (gap("buffer", 1.0, 1.0, dropped=7), "7 events dropped: the buffer was full"),
        (gap("worker", 1.0, 1.0, hostname="w1@h", missed=12), "~12 tasks of w1@h not seen"),
        ({"reason": "worker"}, "~? tasks of some worker not seen"),
        ({"reason": "buffer"}, "? events dropped: the buffer was full"),
        ({}, "some time without events"),
        ({"reason": ["a"], "duration": "x"}, 'some time without events: ["a"]'),
    ],
)
def test_a_gap_is_a_sentence(event, sentence):
    assert gap_sentence(event_of({"type": "evdump-gap", **event})) == sentence
