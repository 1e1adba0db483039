"""The formats: what all of them promise, and each by itself."""

import csv
import io
import json
import math
import random
import re
from itertools import chain, pairwise
from textwrap import dedent

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evtools.dump import formats
from evtools.dump.formats import CSV_COLUMNS, FORMATS, TemplateError, TraceFormatter
from evtools.dump.options import OUTPUTS, TIMESTAMPS, DumpOptions
from evtools.wire import GAP, Joiner, encode_line, envelope, open_envelope
from tools.gaps import gap
from tools.typed import event_of, events_of

#: How fast it goes is for the benchmarks to say.
FEW = settings(max_examples=40)

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
field_names = st.sampled_from([
    "uuid", "name", "args", "kwargs", "hostname", "timestamp", "runtime", "exception",
    "traceback", "result", "loadavg", "reason", "duration", "error", "missed", "dropped",
    "local_received", "started", "root_id", "v", "own", "terminated", "sw_ver", "queue", "",
])  # fmt: skip
field_names |= st.text(st.characters(exclude_categories=["Cs"]))
types = st.sampled_from([
    "task-sent", "task-received", "task-started", "task-succeeded", "task-failed", "task-revoked",
    "task-progress", "worker-heartbeat", "worker-online", "x\x1b[2Jy\n", "\u202e", GAP,
])  # fmt: skip
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
    return FORMATS[name](DumpOptions(**{"template": TEMPLATE, "timestamps": "utc", **options}))


def shown(name, event, joined=None, **options):
    return formatter(name, **options).format(event_of(event, joined)).decode()


@pytest.mark.parametrize("name", [name for name in OUTPUTS if name not in ("pretty", "trace")])
@FEW
@given(event=events, joined=joins, verbosity=st.integers(-1, 3), full=st.booleans())
def test_any_event_is_one_safe_line(name, event, joined, verbosity, full):
    made = formatter(name, verbosity=verbosity, full=full)
    line = made.format(joined_to(event, joined)).decode()
    assert line.endswith("\n")
    assert line[:-1].isprintable()


@FEW
@given(event=events, joined=joins)
def test_any_event_is_a_safe_block(event, joined):
    block = formatter("pretty").format(joined_to(event, joined)).decode()
    assert block.endswith("\n\n")
    assert block.replace("\n", "").isprintable()


@FEW
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
@FEW
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


@pytest.mark.parametrize(("value", "text"), [
    (None, "null"), (True, "true"), (10**20, "100000000000000000000"), (0.1, "0.1"), ("", '""'),
    ("null", '"null"'), ("true", '"true"'), ("-1.5e3", '"-1.5e3"'), ("5.6.2", '"5.6.2"'),
    ("a b", '"a b"'), ("a=b", '"a=b"'), ('say "x"', '"say \\"x\\""'),
    ("back\\slash", '"back\\\\slash"'), ("two\nlines", '"two\\nlines"'),
    ("\x1b[2J\u202e", '"\\u001b[2J\\u202e"'), ("Grüße", "Grüße"), ([1, "a"], '"[1,\\"a\\"]"'),
    ({}, '"{}"'),
])  # fmt: skip
def test_values_are_quoted_where_that_is_needed(value, text):
    assert shown("logfmt", {"type": "x", "k": value}) == f"type=x k={text}\n"


@pytest.mark.parametrize(("event", "line"), [
    *(({"type": "x", key: 1}, f"type=x {written}=1")
      for key, written in (("a b", "a_b"), ('a="\\', "a___"), ("", "_"), ("\n", "_n"))),
    # A version of the event itself is kept, and pairs stand in the order of the envelope.
    ({"type": "x", "v": 3}, 'type=x v=3 own="[\\"v\\"]"'),
    ({"pid": 7, "uuid": "u-1", "type": "task-failed", "timestamp": 1.5},
     "ts=1970-01-01T00:00:01.500000Z type=task-failed uuid=u-1 timestamp=1.5 pid=7"),
])  # fmt: skip
def test_keys_cannot_be_mistaken(event, line):
    assert shown("logfmt", event) == f"{line}\n"


# --- csv --------------------------------------------------------------------------


def read(event, joined=None):
    """The row of an event as a reader of CSV sees it."""
    made = formatter("csv")
    data = made.header + made.format(event_of(event, joined))
    assert data.count(b"\n") == 2
    [row] = csv.DictReader(io.StringIO(data.decode(), newline=""))
    return {**row, "fields": json.loads(row["fields"])}


def test_every_field_of_event_and_task_has_its_place():
    own = {"type": "task-failed", "uuid": "u1", "hostname": "w@h", "exception": "KeyError(1)"}
    joined = {"name": "proj.boom", "args": "(1, 2)"}
    fields = {"timestamp": 12.0, "pid": 7, "started": 10.0, "sent": 9.0}
    more = {"ts": "1970-01-01T00:00:12.000000Z", "runtime": "2.0", "fields": fields}
    row = read({**own, "timestamp": 12.0, "pid": 7}, {**joined, "started": 10.0, "sent": 9.0})
    assert row == {**dict.fromkeys(CSV_COLUMNS, ""), **own, **joined, **more}


def test_the_real_exception_has_the_column_and_the_told_one_is_kept():
    told = {"exception": "ExceptionWithTraceback()", "traceback": "x\nTimeLimitExceeded(3,)\n"}
    row = read({"type": "task-failed", **told})
    assert (row["exception"], row["fields"]) == ("TimeLimitExceeded(3,)", told)
    for traceback in ("\n", 7, None):
        row = read({"type": "task-failed", **told, "traceback": traceback})
        assert row["exception"] == "ExceptionWithTraceback()"


@pytest.mark.parametrize(("name", "value", "shown"), [
    *(("args", f"{start}1|' /C c'!A0", f"'{start}1|' /C c'!A0")
      for start in (*"=+-@", "\uff1d", "\uff0b", "\uff0d", "\uff20")),
    *(("args", f"{blank}=1+1", f"{shown}=1+1")
      for blank, shown in (("\t", "\\t"), ("\r", "\\r"), ("\n", "\\n"))),
    *(("name", value, value) for value in ("a,b", 'say "x"', " padded ", "'", "plain", "ä")),
    ("retries", -1, "-1"), ("runtime", "soon", "soon"), ("name", "a\r\nb\x1b", "a\\r\\nb\\x1b"),
    ("args", [1, "a"], '[1,"a"]'), ("args", None, ""), ("ts", None, ""),
])  # fmt: skip
def test_a_cell_is_harmless_and_quoted_where_that_is_needed(name, value, shown):
    assert read({"type": "task-failed", name: value})[name] == shown


# --- pretty -----------------------------------------------------------------------


def test_every_field_has_its_line():
    event = {
        "type": "task-failed", "timestamp": 12.0, "uuid": "u1", "retries": None, "pid": [1],
        "exception": "ExceptionWithTraceback()", "a\nb": "\u202e",
        "traceback": "Traceback:\n  File\x1b\n\nTimeLimitExceeded(3,)\n",
    }  # fmt: skip
    assert shown("pretty", event, {"name": "proj.boom"}) == dedent(r"""
        |task-failed  00:00:12.000Z
        |  uuid       u1
        |  exception  ExceptionWithTraceback()
        |  traceback
        |      Traceback:
        |        File\x1b
        |
        |      TimeLimitExceeded(3,)
        |  timestamp  12.0
        |  pid        [1]
        |  retries    null
        |  a\nb       \u202e
        |  name       proj.boom  (joined)
        |  exception  TimeLimitExceeded(3,)  (from traceback)

        """).replace("|", "").removeprefix("\n")
    assert "  traceback  x\n" in shown("pretty", {"type": "x", "traceback": "x"})
    assert "  traceback  [1]\n" in shown("pretty", {"type": "x", "traceback": [1]})


def test_a_long_value_is_cut_and_the_cut_shows():
    event = {"type": "x", "args": "y" * 10_000, "z": "\u0301" * 5000}
    text = shown("pretty", event)
    assert "y" * 999 + "…\n" in text
    assert "y" * 1000 not in text
    assert "\u0301…\n" in text
    assert "y" * 10_000 in shown("pretty", event, full=True)


def test_colour_is_for_titles_and_labels():
    text = shown("pretty", {"type": "x", "pid": 7}, colour=True)
    assert text == "\x1b[1mx\x1b[0m  -\n  \x1b[2mpid\x1b[0m  7\n\n"


# --- times ------------------------------------------------------------------------

NOON = 1795186532.103655


def times(way, *moments):
    """What a stream of events with these timestamps is shown with."""
    made = formatter("template", template="{ts}", timestamps=way)
    texts = [made.format(event_of({"type": "x", "timestamp": at})).decode() for at in moments]
    return [text.removesuffix("\n") for text in texts]


@pytest.mark.parametrize(("way", "moments", "shown"), [
    ("local", [NOON], ["17:55:32.104"]), ("utc", [NOON], ["14:55:32.104Z"]),
    ("iso", [NOON], ["2026-11-20T14:55:32.103655Z"]), ("epoch", [NOON], ["1795186532.103655"]),
    ("none", [NOON, None], ["", ""]), ("local", [None], ["-"]),
    ("utc", [0.5, 0.9994, 0.9996, -0.5],
     ["00:00:00.500Z", "00:00:00.999Z", "00:00:01.000Z", "23:59:59.500Z"]),
    ("delta", [5.0, None, 7.5, 7.0], ["+0.000", "-", "+2.500", "-0.500"]),
    ("start", [5.0, 7.5, 4.0], ["+0.000", "+2.500", "-1.000"]),
])  # fmt: skip
def test_each_way_has_its_form(in_zone, way, moments, shown):
    in_zone("XXX-3")
    assert times(way, *moments) == shown


@pytest.mark.parametrize("odd", [None, "1", True, [], math.nan, math.inf, 1e300, 1763380002000])
def test_an_odd_timestamp_gives_way_to_when_we_received_it(odd):
    event = {"type": "x", "timestamp": odd, "local_received": 7}
    assert shown("template", event, template="{ts}") == "00:00:07.000Z\n"
    assert times("utc", odd) == ["-"]


@pytest.mark.parametrize("style", ["local", "utc"])
@pytest.mark.parametrize("moment", [253402300799.9999, -62135596800.0])
def test_a_time_at_the_edge_of_the_calendar_is_survived(in_zone, moment, style):
    for zone in ("XXX9", "XXX-9"):
        in_zone(zone)
        (text,) = times(style, moment)
        assert text == "-" or text.isprintable()


# --- values and sentences ---------------------------------------------------------


@pytest.mark.parametrize(("kind", "fields", "runtime"), [
    ("failed", {"timestamp": 10.25}, "0.25"), ("failed", {"timestamp": 10.25, "runtime": 7}, "7"),
    ("failed", {"timestamp": 9.0}, "-"), ("failed", {}, "-"), ("failed", {"timestamp": "x"}, "-"),
    ("progress", {"timestamp": 11.0}, "-"),
])  # fmt: skip
def test_a_runtime_is_told_or_worked_out(kind, fields, runtime):
    event = {"type": f"task-{kind}", **fields}
    assert filled("{runtime}", event, {"started": 10.0}) == f"{runtime}\n"
    assert filled("{runtime}", event, {}) == (f"{runtime if 'runtime' in fields else '-'}\n")


@pytest.mark.parametrize(("event", "sentence"), [
    (gap("reconnect", 1.0, 5.2, error="Connection refused"),
     "4.20s without events: reconnect (Connection refused)"),
    (gap("stopped", 1.0, 3.0), "2.00s without events: stopped"),
    (gap("buffer", 1.0, 1.0, dropped=7), "7 events dropped: the buffer was full"),
    (gap("worker", 1.0, 1.0, hostname="w1@h", missed=12), "~12 tasks of w1@h not seen"),
    ({"reason": "worker"}, "~? tasks of some worker not seen"),
    ({"reason": "buffer"}, "? events dropped: the buffer was full"),
    ({}, "some time without events"),
    ({"reason": ["a"], "duration": "x"}, 'some time without events: ["a"]'),
])  # fmt: skip
def test_a_gap_is_a_sentence(event, sentence):
    event = {"type": GAP, **event}
    assert line(event) == f"GAP    {sentence}"
    assert line(event, quiet=True) == f"evdump-gap {sentence}"
    assert filled("{name}", event, timestamps="none") == f"evdump-gap {sentence}\n"
    assert f"\n  {sentence}\n" in shown("pretty", event)


# --- text ---------------------------------------------------------------------------

UUID = "eacdf44c-6aa4-4bb2-8c0e-0d2f1fe1a1ef"
WORKER = "celery@vm"
JOINED = {"name": "proj.add", "args": "(1, 2)", "kwargs": "{}", "started": 10.0}


def lines(*pairs, **options):
    """Return what is printed for (event, joined) pairs, without times."""
    made = formatter("text", **{"timestamps": "none", **options})
    text = b"".join(made.format(event_of(*pair)) for pair in pairs).decode()
    assert text.endswith("\n")
    return text


def line(event, joined=None, **options):
    return lines((event, joined or {}), **options).removesuffix("\n")


def task(kind, **fields):
    return {"type": f"task-{kind}", "hostname": WORKER, "uuid": UUID, **fields}


def worker(kind, **fields):
    return {"type": f"worker-{kind}", "hostname": WORKER, **fields}


@pytest.mark.parametrize(("event", "shown"), [
    (task("sent", queue="mail"), "SENT   {} (1, 2)  queue=mail"),
    (task("sent", args="[]", queue=None), "SENT   {}"),
    (task("received", kwargs="{'a': 1}"), "RECV   {} (1, 2) {{'a': 1}}"),
    (task("started"), "START  {} (1, 2)"),
    (task("succeeded", runtime=0.2, result="3"), "OK     {} (1, 2) 200ms  3"),
    (task("failed", exception="KeyError(1)"), "FAIL   {} (1, 2)  KeyError(1)"),
    (task("failed", timestamp=10.006), "FAIL   {} (1, 2) 6ms"),
    (task("retried", exception="Retry()"), "RETRY  {} (1, 2)  Retry()"),
    (task("revoked", terminated=True, signum=9, expired=False),
     "REVOKE {} (1, 2)  terminated=true signum=9"),
    (task("rejected", requeue=True), "REJECT {} (1, 2)  requeue=true"),
    (task("cancelled"), "CANCEL {} (1, 2)"),
    (task("progress", done=3), "task-progress {} (1, 2)  done=3"),
])  # fmt: skip
def test_a_task_event_shows_its_task_and_what_happened(event, shown):
    assert line(event, JOINED) == shown.format("celery@vm  proj.add[eacdf44c]")


@pytest.mark.parametrize(("event", "shown"), [
    (worker("heartbeat", active=0, processed=5, loadavg=[1.07, 1, 1]),
     "beat   celery@vm  active=0 processed=5 load=1.07"),
    (worker("heartbeat", loadavg=[]), "beat   celery@vm  load=[]"),
    (worker("online", sw_ident="py-celery", sw_ver="5.6.2", sw_sys="Linux"),
     "online celery@vm  py-celery 5.6.2 Linux"),
    (worker("offline", freq=2.0), "offline celery@vm"),
    ({"type": "x", "uuid": "u1"}, "x      -  ?[u1]"),
    ({"type": "deploy-done", "name": "web", "n": [1]}, "deploy-done -  name=web  n=[1]"),
    ({"type": "task-failed", "hostname": 7}, "FAIL   7  ?"),
    ({"type": "task-failed", "uuid": None}, "FAIL   -  ?"),
])  # fmt: skip
def test_other_events_show_what_they_have(event, shown):
    assert line(event) == shown


def test_the_time_comes_first_and_keeps_its_column():
    event = task("started", timestamp=12.0)
    assert line(event, timestamps="utc").startswith("00:00:12.000Z START  celery@vm")
    assert line(task("started"), timestamps="utc").startswith("            - START ")
    assert line(event, timestamps="start").startswith("   +0.000 START ")


@pytest.mark.parametrize(("names", "replays", "shown"), [
    (["prod"], False, ["GAP"]), (["prod"], True, ["-    GAP", "prod GAP"]),
    (["x", "europe"], False, ["-      GAP", "prod   GAP"]), ([], True, ["GAP", "prod GAP"]),
])  # fmt: skip
@pytest.mark.parametrize("quiet", [False, True])
def test_clusters_have_a_column_where_it_says_something(names, replays, shown, quiet):
    made = formatter("text", timestamps="none", quiet=quiet)
    made.show_clusters(names, replays=replays)
    event, named = event_of(gap("stopped", 0.0, 1.0)), event_of(gap("stopped", 0.0, 1.0))
    named.cluster = "prod"
    starts = [made.format(each).decode().replace(GAP, "GAP") for each in (event, named)]
    for start, line in zip([*shown, shown[-1]], starts, strict=False):
        assert line.startswith(f"{start} ")


def test_every_format_but_raw_says_which_cluster():
    fields = {"type": "task-x", "uuid": "u", "local_received": 1.0}
    event, gap_record = event_of(fields), event_of(gap("stopped", 0.0, 1.0))
    event.cluster = gap_record.cluster = "prod"
    made = {name: formatter(name, template="{type} {cluster}") for name in OUTPUTS}
    for each in (event, gap_record):
        for name, one in made.items():
            assert (b"prod" in one.format(each)) == (name != "raw")
    # The event may have a field of that name.
    own = event_of({**fields, "cluster": "own"})
    assert made["template"].format(own) == b"task-x own\n"
    own.cluster = "prod"
    assert made["template"].format(own) == b"task-x prod\n"
    csv_lines = made["csv"].format(own), made["csv"].format(event)
    assert b'"{""cluster"":""own"",' in csv_lines[0]
    assert b'""cluster"":""prod""}"' in csv_lines[1]
    made["csv"].show_clusters(["prod"], replays=False)
    assert made["csv"].header.endswith(b",fields,cluster\n")
    assert made["csv"].format(own) == csv_lines[0][:-1] + b",prod\n"
    assert made["csv"].format(event_of(fields)).endswith(b",\n")


def test_the_column_of_workers_grows_with_the_longest_name():
    names = ["a", "celery@vm", "b", "c" * 31, "b"]
    shown = lines(*(({"type": "x", "hostname": name, "n": 1}, {}) for name in names))
    assert [text.index("n=") for text in shown.splitlines()] == [10, 18, 18, 40, 18]


# --- how much -----------------------------------------------------------------------

VERBOSE = task("received", root_id=UUID, parent_id="p1", eta=None, retries=1, pid=7, timestamp=1.0)
FAILED = task("failed", exception="E()", traceback="Traceback:\n  File\x1b\n\nE()\n")
LONG, CUT = task("sent", args="x" * 500), task("sent", args=f"({'1, ' * 400}...)")
HEAD = "FAIL   celery@vm  ?[eacdf44c]"


@pytest.mark.parametrize(("event", "options", "shown"), [
    (task("failed", **JOINED), {"quiet": True}, "task-failed proj.add"),
    (worker("heartbeat"), {"quiet": True}, "worker-heartbeat celery@vm"),
    ({"type": "x"}, {"quiet": True}, "x"),
    (VERBOSE, {"verbosity": 1}, "RECV   celery@vm  ?[eacdf44c]  parent_id=p1  retries=1"),
    (worker("heartbeat", active=1, freq=2.0), {"verbosity": 1},
     "beat   celery@vm  active=1  freq=2.0"),
    (VERBOSE, {"verbosity": 2},
     "RECV   celery@vm  ?[eacdf44c]  parent_id=p1  retries=1  timestamp=1.0  pid=7"),
    (FAILED, {"verbosity": 1}, f"{HEAD}  E()"), (task("failed"), {"verbosity": 2}, HEAD),
    (FAILED, {"verbosity": 2}, rf"{HEAD}  E()  traceback=Traceback:\n  File\x1b\n\nE()\n"),
    # On a terminal a traceback has its own lines.
    (FAILED, {"verbosity": 2, "multiline": True},
     f"{HEAD}  E()\n    Traceback:\n      File\\x1b\n\n    E()"),
    (FAILED, {"verbosity": 1, "multiline": True}, f"{HEAD}  E()"),
    (FAILED, {"verbosity": 2, "multiline": True, "quiet": True}, "task-failed celery@vm"),
    (task("failed"), {"verbosity": 2, "multiline": True}, HEAD),
    (LONG, {}, f"SENT   celery@vm  ?[eacdf44c] {'x' * 79}…"),
    (LONG, {"verbosity": 1}, f"SENT   celery@vm  ?[eacdf44c] {'x' * 399}…"),
    (LONG, {"full": True}, f"SENT   celery@vm  ?[{UUID}] {'x' * 500}"),
    (CUT, {}, f"SENT   celery@vm  ?[eacdf44c] {CUT['args'][:79]}… (cut by sender)"),
    (CUT, {"full": True}, f"SENT   celery@vm  ?[{UUID}] {CUT['args']} (cut by sender)"),
    (task("sent", args="('wait...',)"), {}, "SENT   celery@vm  ?[eacdf44c] ('wait...',)"),
])  # fmt: skip
def test_a_line_says_as_much_as_is_asked_for(event, options, shown):
    assert line(event, **options) == shown


def test_verbose_names_what_was_joined():
    joined = {**JOINED, "queue": "mail"}
    assert line(VERBOSE, joined, verbosity=1).endswith("  parent_id=p1  retries=1  queue=mail")
    assert line(VERBOSE, JOINED, verbosity=2).endswith("  timestamp=1.0  pid=7  started=10.0")


def test_a_value_that_takes_no_columns_is_cut_too():
    shown = line(task("sent", args="\u0301" * 10_000))
    assert len(shown) < 500
    assert shown.endswith("…")


# --- colour -------------------------------------------------------------------------


def test_colour_is_of_our_making():
    shown = line(task("failed", exception="[red]x[/red]"), colour=True, timestamps="utc")
    assert shown == (
        "\x1b[2m            - \x1b[0m\x1b[1;31mFAIL   \x1b[0mcelery@vm"
        "\x1b[1m  ?\x1b[0m[eacdf44c]  [red]x[/red]"
    )


@pytest.mark.parametrize("verbosity", [0, 2])
def test_without_the_colours_the_line_is_the_same(verbosity):
    for event in (FAILED, worker("heartbeat", active=1), {"type": "x", "a": 1}):
        painted = line(event, JOINED, colour=True, verbosity=verbosity)
        assert re.sub(r"\x1b\[[0-9;]*m", "", painted) == line(event, JOINED, verbosity=verbosity)


def highlighted(pattern):
    shown = line(task("failed", exception="KeyError(1)"), colour=True, highlight=pattern)
    plain = line(task("failed", exception="KeyError(1)"))
    assert re.sub(r"\x1b\[[0-9;]*m", "", shown) == plain
    return re.findall(r"\x1b\[7m(.*?)\x1b\[0m", shown)


def test_what_matches_is_highlighted_wherever_it_stands():
    assert highlighted("Key|FAIL") == ["FAIL", "Key"]
    assert highlighted("vm  .") == ["vm", "  ?"]
    assert highlighted("x*") == []
    assert highlighted("nope") == []
    # Not without colour.
    assert "\x1b" not in line(FAILED, highlight="FAIL")


# --- templates ------------------------------------------------------------------------

SUCCEEDED = {
    "type": "task-succeeded", "timestamp": 12.0, "uuid": UUID, "runtime": 0.12345, "retries": 3,
    "eta": None, "args": ["a", 1], "x-odd": "y", "evil": "a\n\x1b[2J",
}  # fmt: skip


def filled(template, event=SUCCEEDED, joined=(("name", "proj.add"),), **options):
    return shown("template", event, dict(joined), template=template, **options)


@pytest.mark.parametrize(("template", "line"), [
    ("{ts} {type} {name}", "00:00:12.000Z task-succeeded proj.add"),
    ("{name}[{uuid:8}]", "proj.add[eacdf44c]"), ("{name:4}|{name:20}|", "proj|proj.add|"),
    ("{name:<10}|{name:>10}|{name:^10}|", "proj.add  |  proj.add| proj.add |"),
    ("{name:*^10}|{name:<2}|", "*proj.add*|proj.add|"), ("{name:.3}|{name:>5.3}|", "pro|  pro|"),
    ("{runtime:.3f} {runtime:f} {runtime:>8.1f}", "0.123 0.123450      0.1"),
    ("{retries:d} {runtime:d} {retries:.2f} {retries}", "3 0 3.00 3"),
    ("{name:d} {name:.3f} {name:s}", "proj.add proj.add proj.add"),
    ("{eta} {nope} {nope:>5}|", "- -     -|"),
    ("{args} {args!j} {name!j} {eta!j} {nope!j:2}", '["a",1] ["a",1] "proj.add" null nu'),
    ("{{{name}}} {{}}", "{proj.add} {}"), (r"a\tb\\c\x", "a\tb\\c\\x"),
    (r"{name}\n  {type}", "proj.add\n  task-succeeded"), ("{x-odd}", "y"),
    ("{evil}", "a\\n\\x1b[2J"), ("{evil!j}", '"a\\n\\u001b[2J"'), ("", ""),
])  # fmt: skip
def test_a_template_is_filled(template, line):
    assert filled(template) == line + "\n"


@pytest.mark.parametrize(("template", "problem", "column"), [
    ("{name", '"{" without its other half', 1), ("ab }", '"}" without its other half', 4),
    ("{}", "empty field", 2), ("{0}", '"0" is no field', 2),
    ("{args[0]}", '"args[0]" is no field', 2),
    ("{name.__class__}", '"name.__class__" is no field', 2),
    ("{name!r}", '"name!r" is no field', 2),
    ("{name\x1b}", '"name\\x1b" is no field', 2), ("ab {name:x}", '"x" is no format', 10),
    ("{name!j:,}", '"," is no format', 9), ("{name:99999}", '"99999" is no format', 7),
    ("{name:{uuid}}", '"{" without its other half', 1),
])  # fmt: skip
def test_a_bad_template_says_what_and_where(template, problem, column):
    with pytest.raises(TemplateError) as caught:
        formatter("template", template=template)
    assert caught.value.message == f"bad template at column {column}: {problem}"
    assert (caught.value.text, caught.value.position) == (template, column - 1)
    assert "{runtime:.3f}" in caught.value.hint


# --- traces -----------------------------------------------------------------------

#: Chrome's Trace Event Format: which fields each kind of event must have.
FIELDS_OF = {
    "M": {"name", "args"}, "X": {"name", "cat", "ts", "dur"}, "B": {"name", "ts"},
    "i": {"name", "ts", "s"}, "C": {"name", "ts", "args"}, "b": {"name", "cat", "id", "ts"},
    "e": {"name", "cat", "id", "ts"}, "s": {"name", "cat", "id", "ts"},
    "f": {"name", "cat", "id", "ts", "bp"},
}  # fmt: skip


class Trace:
    """The trace of some events, checked against the documents of its format.

    `runs` are its complete events by uuid.
    """

    def __init__(self, events, **options):
        formatter = TraceFormatter(DumpOptions(output="trace", **options))
        Joiner().join(events)
        text = formatter.header + formatter.format_all(events)
        assert text.decode().replace("\n", "").isprintable()
        json.loads(text + b"]")  # one that breaks off
        self.events = json.loads(text + formatter.footer())
        self.processes, self.threads = {}, {}
        for event in self.events:
            kind, args = event["ph"], event.get("args", {})
            assert {*event} >= FIELDS_OF[kind] | {"pid"}
            if kind == "M":
                if event["name"] == "process_name":
                    self.processes[event["pid"]] = args["name"]
                elif event["name"] == "thread_name":
                    self.threads[event["pid"], event["tid"]] = args["name"]
                continue
            assert event["pid"] in self.processes
            assert type(event["ts"]) is int
            assert kind == "C" or (event["pid"], event["tid"]) in {**self.threads, (1, 1): ""}
        self.runs = {event["args"]["uuid"]: event for event in self.kinds("X", "B")}
        self.check_threads()
        self.check_pairs("b", "e")
        self.check_pairs("s", "f")

    def kinds(self, *kinds):
        return [event for event in self.events if event["ph"] in kinds]

    def check_threads(self):
        slices = {}
        for event in self.kinds("X", "B"):
            end = event["ts"] + event.get("dur", 10**9)
            slices.setdefault((event["pid"], event["tid"]), []).append((event["ts"], end))
        for each in map(sorted, slices.values()):
            assert all(left[1] <= right[0] for left, right in pairwise(each))
        for event in self.kinds("s", "f"):
            inside = slices[event["pid"], event["tid"]]
            assert any(start <= event["ts"] < max(end, start + 1) for start, end in inside)

    def check_pairs(self, first, last):
        begun = {event["id"]: event for event in self.kinds(first)}
        assert len(begun) == len(self.kinds(first))
        for event in self.kinds(last):
            begin = begun.pop(event["id"])
            assert begin["ts"] <= event["ts"]
            assert (begin["name"], begin["cat"]) == (event["name"], event["cat"])
        assert first == "b" or not begun

    def place(self, uuid):
        event = self.runs[uuid]
        return self.processes[event["pid"]], self.threads[event["pid"], event["tid"]]


def life(uuid, *moments, worker="w1", **fields):
    """The events of a task: at which second it was what, by name."""
    events = []
    for kind, at in moments:
        event = {"type": f"task-{kind}", "uuid": uuid, "hostname": worker, "timestamp": at}
        event |= {"pid": 7, "local_received": at}
        if kind in ("sent", "received"):
            event |= {"name": f"name-{uuid}", "parent_id": fields.get("parent")}
        if kind == "sent":
            event |= {"queue": "mail", "hostname": "client"}
        if kind == "succeeded":
            event |= {"runtime": 1.0, "result": "1"}
        if kind in ("failed", "retried"):
            event |= {"exception": "E('\x1b[31m')"}
        if kind == "progress":
            event |= {"pid": 99}
        events.append(event)
    return events


def traced(*tasks, **options):
    events = sorted(chain.from_iterable(tasks), key=lambda event: event["timestamp"])
    return Trace(events_of(events), **options)


def test_a_trace_has_runs_waits_and_calls_where_they_belong():
    trace = traced(
        life("a", ("sent", 10), ("received", 11), ("started", 12), ("succeeded", 20)),
        life("b", ("sent", 13), ("started", 14), ("failed", 16), parent="a"),
        life("c", ("sent", 15), ("started", 17), ("succeeded", 30), worker="w2", parent="a"),
        # What a task says itself may come before what its worker says of it.
        life("d", ("received", 19), ("progress", 20), ("started", 21), ("succeeded", 23)),
        life("e", ("sent", 21), ("started", 22), ("retried", 24), parent="c"),
        life("f", ("sent", 25), ("revoked", 26)),
        # Another worker meets it while it runs.
        life("a", ("revoked", 15), worker="w2"),
        life("g", ("sent", 27)),
        life("h", ("started", 28), worker="w2", parent="c"),
        [{"type": "worker-heartbeat", "hostname": "w1", "timestamp": 29.0, "active": 2}],
    )
    assert {uuid: trace.place(uuid) for uuid in trace.runs} == {
        "a": ("w1", "slot 1"), "b": ("w1", "slot 2"), "c": ("w2", "slot 1"),
        "d": ("w1", "pool process 99"), "e": ("w1", "slot 2"), "h": ("w2", "slot 2"),
    }  # fmt: skip
    times = {uuid: (run["ts"] / 1e6, run.get("dur", 0) / 1e6) for uuid, run in trace.runs.items()}
    assert times == {
        "a": (12, 8), "b": (14, 2), "c": (17, 13), "d": (21, 2), "e": (22, 2), "h": (28, 0),
    }  # fmt: skip
    # What has not ended has no end.
    assert [event["args"]["uuid"] for event in trace.kinds("B")] == ["h"]
    assert {uuid: (run["cat"], run.get("cname")) for uuid, run in trace.runs.items()} == {
        "a": ("task,SUCCESS", "good"), "b": ("task,FAILURE", "terrible"),
        "c": ("task,SUCCESS", "good"), "d": ("task,SUCCESS", "good"),
        "e": ("task,RETRY", "bad"), "h": ("task,STARTED", None),
    }  # fmt: skip
    assert trace.runs["b"]["args"]["exception"] == "E('\x1b[31m')"
    waits = {
        event["args"]["uuid"]: (trace.processes[event["pid"]], event["ts"] / 1e6)
        for event in trace.kinds("b")
    }
    assert waits == {
        "a": ("queue mail", 10), "b": ("queue mail", 13), "c": ("queue mail", 15),
        "d": ("queue (unknown)", 19), "e": ("queue mail", 21), "g": ("queue mail", 27),
    }  # fmt: skip
    # g still waits, and f never ran.
    assert [event["ts"] / 1e6 for event in trace.kinds("e")] == [12, 14, 17, 21, 22]
    assert "name-f: REVOKED" in {event["name"] for event in trace.kinds("i")}
    arrows = {(event["pid"], event["tid"], event["ts"] / 1e6) for event in trace.kinds("s")}
    places = {uuid: (run["pid"], run["tid"]) for uuid, run in trace.runs.items()}
    assert arrows == {(*places["a"], 13), (*places["a"], 15), (*places["c"], 21)}
    assert [event["args"] for event in trace.kinds("C")] == [{"active": 2}]


def test_an_end_that_is_reported_twice_is_one_run_of_a_trace():
    trace = traced(life("a", ("sent", 10), ("started", 12), ("failed", 14), ("failed", 14.5)))
    (run,) = trace.kinds("X")
    assert (run["ts"] / 1e6, run["dur"] / 1e6) == (12, 2)
    assert len(trace.kinds("b")) == 1
    assert [event["name"] for event in trace.kinds("i")] == ["name-a: FAILURE"]


@pytest.mark.parametrize("seed", range(5))
def test_no_order_and_no_loss_of_events_breaks_a_trace(seed):
    chance = random.Random(seed)
    kinds = ["sent", "received", "started", "progress", *(k.removeprefix("task-") for k in _ENDED)]
    tasks = [
        life(f"u{n}", *((kind, chance.uniform(1, 99)) for kind in chance.sample(kinds, 5)),
             worker=chance.choice(["w1", "w2"]), parent=f"u{chance.randrange(60)}")
        for n in range(60)
    ]  # fmt: skip
    events = [*chain.from_iterable(tasks), *chance.choices(HOSTILE_EVENTS, k=9)]
    chance.shuffle(events)
    Trace(events_of(events))


_ENDED = ("task-succeeded", "task-failed", "task-retried", "task-revoked", "task-rejected")
HOSTILE_EVENTS = [
    {"type": "task-started", "uuid": "", "timestamp": "x"},
    {"type": "x", "timestamp": 1e300},
    {"type": "task-succeeded", "uuid": "u1", "timestamp": 5.0, "runtime": 1e300, "name": ["\x1b"]},
    {"type": "task-started", "uuid": "u1", "timestamp": -5.0, "hostname": 3},
    {"type": "worker-heartbeat", "active": "many", "timestamp": 3.0, "hostname": {"a": 1}},
    {"type": "task-x", "uuid": "u2", "timestamp": 3.0, "n" * 3000: "v" * 3000, "name": None},
    gap("reconnect", 1.0, 5.0),
]


def test_memory_of_a_trace_is_bounded_and_what_is_left_out_is_said(monkeypatch):
    for name in ("_OPEN_MAX", "_REMEMBERED_MAX", "_TRACKS_MAX"):
        monkeypatch.setattr(formats, name, 10)
    trace = traced(*(life(f"u{n}", ("sent", n + 1), ("started", n + 2)) for n in range(50)))
    assert len(trace.runs) == 10
    assert "40 runs or arrows left out: too many at once" in {e["name"] for e in trace.kinds("i")}
    assert len({event["pid"] for event in trace.events}) < 15
