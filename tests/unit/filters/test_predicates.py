"""Tests for evtools.filters.predicates."""

from datetime import UTC

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evtools.filters.fields import EVENT_FIELDS
from evtools.filters.grammar import parse
from evtools.filters.predicates import Context, all_hold, build, one_holds
from evtools.filters.tokens import Mistake
from evtools.wire import Record

UUID = "7a8b8d37-ebe5-4d26-8057-17bb6963e503"
EVENT = {
    "type": "task-failed",
    "hostname": "celery@w1",
    "timestamp": 1763647200.0,  # 2025-11-20 14:00:00 UTC
    "local_received": 1763647200.25,
    "uuid": UUID,
    "pid": 812,
    "clock": 42,
    "exception": "CardError('declined, twice')",
    "traceback": "Traceback\n  File 'x'\nCardError: declined",
    "percent": 50,
    "memory": 20 * 2**20,
    "note": "half",
    "fast": True,
    "load": [1, 2],
    "blank": "",
}
JOINED = {
    "name": "proj.billing.charge",
    "args": "(4411, 'EUR')",
    "kwargs": "{'queue': 'priority', 'retry': False}",
    "retries": 2,
    "root_id": "11c0aa",
    "parent_id": "4be1bb",
    "exchange": "",
    "sent": 1763647190.0,
    "received": 1763647197.0,
    "started": 1763647198.0,
}
RECORD = Record(EVENT, JOINED)


def compiled(text, now=lambda: 1763647260.0):
    context = Context(EVENT_FIELDS, UTC, now)
    return build(parse(text), context), context.tallies


def matches(text, record=RECORD):
    return compiled(text)[0](record)


def mistake(text, now=None):
    with pytest.raises(Mistake) as caught:
        compiled(text, now)
    return caught.value


@pytest.mark.parametrize(
    "text",
    [
        "",
        "charge",
        "CHARGE",
        "w1",
        "failure",
        "4411",
        "7a8b8d37",
        "proj.*.charge",
        '"declined, twice"',
        "name:billing",
        "name:BILLING,mail",
        "name:proj.*",
        "name=proj.billing.charge",
        "name=x,proj.billing.charge",
        "name!=proj.add",
        r"name~^proj\.(billing|mail)\.",
        "exc!~Timeout",
        "tb~^CardError",
        'tb~"^  File"',
        "uuid:7A8B",
        "uuid:*e503",
        "root:11c0",
        "parent:4be1",
        "tree:7a8b",
        "tree:11c0",
        "tree:4be1,zzz",
        "tree!=zzz",
        "state:failure",
        "state:bad",
        "state:ok,fail",
        "state!=ok",
        "state~^fail",
        "type:task-failed",
        "type:task-*",
        "worker:w[1-3]*,*@w[1-3]",
        "host=w1",
        "args:4411",
        "kwargs:queue=priority",
        "kwargs:priority",
        "kwargs:queue=x,retry=false",
        "runtime:2",
        "runtime>1.5",
        "runtime:1s..2s",
        "runtime!=3",
        "wait:1",
        "queue_time>=7s",
        "retries>=2",
        "retries:>=2",
        "retries:1,2",
        "clock<100",
        "lag>100ms",
        "lag!=0",
        "age:1m",
        "age<2m",
        "done:14:00",
        "started<2025-11-20T14:00Z",
        "sent:2025-11-20",
        "received:13:50..14:00",
        "has:traceback",
        "has:parent",
        "has:queue,name",
        "has:field.load",
        "-has:queue",
        "-has:field.blank",
        'exchange=""',
        "any:charge",
        "any!=zzz",
        "any~decl.*twice",
        "field.percent:50",
        "field.percent>=50",
        "field.percent:40..60,x",
        "field.percent!=51",
        "field.memory>10M",
        "field.memory:20M",
        "f.note:HAL",
        "f.note=half",
        "f.note~^h",
        "f.fast:true",
        "f.fast!=false",
        "NOT queue:x",
        "name:billing state:fail",
        "name:zzz OR state:fail OR zzz",
        "!(name:zzz OR zzz)",
    ],
)
def test_a_filter_passes(text):
    assert matches(text) is True


@pytest.mark.parametrize(
    "text",
    [
        "zzz",
        "task-failed",
        "name:add",
        "name=proj.billing.Charge",
        "name!=proj.billing.charge",
        "name:bill*",
        'name:"proj.*"',
        "exc!~card",
        "uuid:8d37",
        "tree:zzz",
        "tree!=11c0aa",
        "state:ok",
        "state!=failure",
        "state:active",
        "worker:w[1-3]",
        "kwargs:queue=prio",
        "kwargs=queue=priority",
        "runtime>2",
        "runtime:3..",
        "retries:3",
        "queue:x",
        "queue!=x",
        "queue!~x",
        "eta>14:00",
        "has:queue",
        "any!=CardError,proj.billing.charge",
        "field.percent:51",
        "field.percent:half",
        "field.note>3",
        "field.note:50",
        "field.load:1",
        "field.load!=1",
        "field.fast:1",
        "field.fast>0",
        "field.nothing!=1",
        "name:billing state:ok",
        "NOT name:billing",
    ],
)
def test_a_filter_stops(text):
    assert matches(text) is False


@pytest.mark.parametrize(
    ("text", "position", "length", "says"),
    [
        ("state:failure runtme>2", 14, 6, 'unknown field "runtme" (did you mean "runtime"?)'),
        ("zzz:1", 0, 3, 'unknown field "zzz"'),
        ("has:nme", 4, 3, 'did you mean "name"'),
        ("has:any", 4, 3, "several fields"),
        ("has:tree", 4, 4, "several fields"),
        ("has=name", 0, 4, "does not go with has"),
        ("a name>2", 2, 5, '">" does not go with name, which is text'),
        ("runtime~2", 0, 8, "which is a duration"),
        ("retries>1,2", 10, 1, "compares with one value"),
        ("state:x", 6, 1, "no state"),
        ("name~a)", 5, 2, "unbalanced"),
        ('name:""', 5, 2, "empty one"),
        ('""', 0, 2, "empty one"),
        ("retries:x", 8, 1, "no number"),
        ("runtime>x", 8, 1, "no duration"),
        ("done>x", 5, 1, "no time"),
        ("field.a>x", 8, 1, "no number"),
        ("age<5m", 0, 3, "no clock"),
    ],
)
def test_what_does_not_fit_is_refused_in_place(text, position, length, says):
    error = mistake(text)
    assert (error.position, error.length) == (position, length)
    assert says in error.message


def test_nothing_combined_is_everything_or_nothing():
    assert all_hold([])(RECORD)
    assert not one_holds([])(RECORD)


def test_what_is_not_known_is_counted_where_it_could_be():
    predicate, (tally,) = compiled("queue:x")
    predicate(RECORD)
    predicate(Record({"type": "worker-heartbeat"}))
    assert (tally.unknown, tally.known) == (1, False)
    predicate(Record({"type": "task-sent", "queue": "x"}))
    assert tally.known


def test_a_wrong_type_is_not_known():
    predicate, (tally,) = compiled("retries:1")
    for wrong in ("1", True, [1], {}, None, float("nan")):
        assert not predicate(Record({"type": "task-received", "retries": wrong}))
    assert tally.unknown == 6


def test_integers_beyond_floats_are_numbers():
    predicate, _ = compiled("clock>1e300")
    assert predicate(Record({"type": "task-received", "clock": 10**400}))


def test_later_terms_are_asked_only_if_they_matter():
    predicate, (first, second) = compiled("name:zzz queue:x")
    predicate(RECORD)
    assert first.known
    assert second.unknown == 0


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just(10**400),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
KEYS = st.sampled_from(
    [
        "type",
        "hostname",
        "timestamp",
        "local_received",
        "uuid",
        "name",
        "args",
        "kwargs",
        "result",
        "exception",
        "traceback",
        "queue",
        "exchange",
        "routing_key",
        "root_id",
        "parent_id",
        "runtime",
        "retries",
        "pid",
        "clock",
        "eta",
        "sent",
        "received",
        "started",
        "x",
    ]
)
TYPES = st.sampled_from(
    ["task-sent", "task-received", "task-started", "task-succeeded", "task-failed", "task-retried"]
)
EVENTS = st.dictionaries(KEYS, JSON | TYPES)
TERMS = st.sampled_from(
    [
        *(
            f"{name}{sign}x"
            for name in (
                "name",
                "worker",
                "host",
                "kwargs",
                "result",
                "exc",
                "tb",
                "type",
                "uuid",
                "root",
                "tree",
                "any",
                "f.x",
            )
            for sign in (":", "=", "!=", "~", "!~")
        ),
        *(
            f"{name}{sign}1"
            for name in (
                "runtime",
                "wait",
                "queue_time",
                "age",
                "lag",
                "retries",
                "pid",
                "clock",
                "f.x",
            )
            for sign in (":", "!=", ">", "<=")
        ),
        *(
            f"{name}{sign}14:30"
            for name in ("sent", "received", "started", "done", "eta")
            for sign in (":", "!=", "<", ">=")
        ),
        "state:bad",
        "state!=ok",
        "kwargs:a=b",
        "has:eta,lag",
        "has:age",
        "name:*a*",
        "done:..2026-01-01",
        "x",
    ]
)


@given(TERMS, EVENTS, EVENTS)
def test_no_json_makes_a_filter_raise(text, event, joined):
    assert matches(text, Record(event, joined)) in (True, False)
    assert matches(f"NOT {text}", Record(event, joined)) is not matches(text, Record(event, joined))
