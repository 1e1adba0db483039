"""The table of formats, and what all of them promise."""

import json
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evtools.dump.choices import OUTPUTS, TIMESTAMPS
from evtools.dump.formatter import FORMATS, FormatOptions, make_formatter
from evtools.wire import GAP, Record, encode_line, envelope, open_envelope

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
field_names = st.sampled_from(
    [
        *("uuid", "name", "args", "kwargs", "hostname", "timestamp", "runtime"),
        *("exception", "traceback", "result", "loadavg", "reason", "duration", "error"),
        *("missed", "dropped", "local_received", "started", "root_id", "v", "own"),
        *("terminated", "sw_ver", "queue", ""),
    ]
) | st.text(st.characters(exclude_categories=["Cs"]))
types = st.sampled_from(
    [
        *("task-sent", "task-received", "task-started", "task-succeeded"),
        *("task-failed", "task-revoked", "task-progress", "worker-heartbeat"),
        *("worker-online", "x\x1b[2Jy\n", "\u202e", GAP),
    ]
)
events = st.builds(
    lambda kind, fields: {**fields, "type": kind},
    types,
    st.dictionaries(field_names, values, max_size=10),
)
joins = st.dictionaries(
    st.sampled_from(["name", "args", "kwargs", "queue", "started", "root_id"]), values
)


def record_of(event, joined):
    return Record(event, {key: joined[key] for key in joined if key not in event})


def options(**more):
    return FormatOptions(template=TEMPLATE, **more)


@pytest.mark.parametrize("name", [name for name in OUTPUTS if name != "pretty"])
@UNHURRIED
@given(event=events, joined=joins, verbosity=st.integers(-1, 3), full=st.booleans())
def test_any_event_is_one_safe_line(name, event, joined, verbosity, full):
    made = make_formatter(name, options(verbosity=verbosity, full=full))
    line = made.format(record_of(event, joined)).decode()
    assert line.endswith("\n")
    assert line[:-1].isprintable()


@UNHURRIED
@given(event=events, joined=joins)
def test_any_event_is_a_safe_block(event, joined):
    made = make_formatter("pretty", options())
    block = made.format(record_of(event, joined)).decode()
    assert block.endswith("\n\n")
    assert block.replace("\n", "").isprintable()


@UNHURRIED
@given(event=events, joined=joins, quiet=st.booleans())
def test_a_terminal_never_gets_another_control_than_our_colours(event, joined, quiet):
    made = make_formatter("text", options(verbosity=2, multiline=True, colour=True, quiet=quiet))
    text = made.format(record_of(event, joined)).decode()
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
    live = make_formatter(name, options(verbosity=2, timestamps=timestamps))
    replay = make_formatter(name, options(verbosity=2, timestamps=timestamps))
    for event, joined in stream:
        record = record_of(event, joined)
        line = encode_line(envelope(record.event, record.joined))
        again, joined_again = open_envelope(json.loads(line))
        assert replay.format(Record(again, joined_again)) == live.format(record)


def test_every_format_is_in_the_table():
    assert set(FORMATS) == set(OUTPUTS)
    assert len({type(make_formatter(name, options())) for name in OUTPUTS}) == 7


def test_only_csv_has_a_header():
    headed = [name for name in OUTPUTS if make_formatter(name, options()).header()]
    assert headed == ["csv"]


def test_a_format_is_imported_on_use():
    program = (
        "import sys, evtools.dump.formatter as f\n"
        "assert not [m for m in sys.modules if m.startswith('evtools.dump.formats')]\n"
        "f.make_formatter('text', f.FormatOptions())\n"
        "assert 'evtools.dump.formats.csv' not in sys.modules\n"
        "assert 'rich' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
