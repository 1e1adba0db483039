"""Filters, from their text to what they match."""

import json
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET

from evtools.errors import FilterError
from evtools.filters import (
    EVENT_FIELDS,
    TASK_FIELDS,
    all_of,
    caret,
    compile_filter,
    exclude,
    running_since,
    shell_trap,
    task_fields,
)
from evtools.filters.fields import ALIASES, EVENT_STATES
from evtools.wire import OWN_FIELDS, Schema
from evtools.wire.events import COMMON
from tools.typed import event_of

NOW = 1763647260.0  # 2025-11-20 14:01:00 UTC
EVENT = {
    "type": "task-failed", "hostname": "celery@w1", "timestamp": NOW - 60,
    "local_received": NOW - 59.75, "uuid": "7a8b8d37-ebe5-4d26-8057-17bb6963e503", "pid": 812,
    "clock": 42, "exception": "CardError('declined, twice')", "memory": 20 * 2**20, "percent": 50,
    "traceback": "Traceback\n  File 'x'\nCardError: declined", "note": "half", "fast": True,
    "load": [1, 2], "blank": "",
}  # fmt: skip
JOINED = {
    "name": "proj.billing.charge", "args": "(4411, 'EUR')", "retries": 2,
    "kwargs": "{'queue': 'priority', 'retry': False}", "root_id": "11c0aa",
    "parent_id": "4be1bb", "exchange": "", "sent": NOW - 70, "received": NOW - 63,
    "started": NOW - 62,
}  # fmt: skip
RECORD = event_of(EVENT, JOINED)
STARTED = event_of({"type": "task-started", "hostname": "celery@w1", "uuid": "7a8b"})
HEARTBEAT = event_of({"type": "worker-heartbeat", "hostname": "celery@w1"})


def matches(text, record=RECORD):
    return compile_filter(text, now=lambda: NOW).matches(record)


def event(kind, **fields):
    return event_of({"type": kind, **fields})


def mistake(text):
    with pytest.raises(FilterError) as caught:
        compile_filter(text)
    return caught.value


@pytest.mark.parametrize(
    "text",
    """
    ||  ||charge||CHARGE||w1||failure||4411||7a8b8d37||proj.*.charge||"declined, twice"
    name:billing||NAME:billing||name:BILLING,mail||name:proj.*||name:*.Charge
    name:proj.billing.charg?||name=proj.billing.charge||name=x,proj.billing.charge||name!=proj.add
    name~^proj\\.(billing|mail)\\.||exc!~Timeout||tb~^CardError||tb~"^  File"
    uuid:7A8B||uuid:*e503||root:11c0||root_id:11c0||parent:4be1
    tree:7a8b||tree:11c0||tree:4be1,zzz||tree!=zzz
    state:failure||state:FAILED||state:fail||state:bad||state:done||state:f*||state:ok,fail
    state!=ok||state~^fail||type:task-failed||type:task-*
    worker:w[1-3]*,*@w[1-3]||hostname:w1||host=w1||args:4411
    kwargs:queue=priority||kwargs:priority||kwargs:queue=x,retry=false||kwargs.queue=priority
    kwargs.queue:prio||kwargs.queue!=x||kwargs.queue!=prio*,x OR name:charge
    runtime:2||runtime>1.5||runtime:1s..2s||runtime!=3||runtime>-1||wait:1||queue_time>=7s
    retries>=2||retries:>=2||retries:1,2||retries:1,2..||clock<100||lag>100ms||lag!=0
    age:1m||age<2m||age>500ms
    done:14:00||started<2025-11-20T14:00Z||sent:2025-11-20||received:13:50..14:00
    has:traceback||has:parent||has:queue,name||has:field.load||-has:queue||-has:field.blank
    exchange=""||any:charge||any!=zzz||any~decl.*twice
    field.percent:50||field.percent>=50||field.percent:40..60,x||field.percent!=51
    field.memory>10M||field.memory:20M||field.percent<1m||f.note:HAL||f.note=half||f.note~^h
    f.fast:true||f.fast!=false||NOT queue:x||name:billing state:fail
    name:zzz OR state:fail OR zzz||!(name:zzz OR zzz)||zzz (zzz OR charge) OR charge
    NOT zzz charge||NOT (charge zzz)||NOT NOT charge
    """.strip().replace("\n    ", "||").split("||"),
)  # fmt: skip
def test_a_filter_passes(text):
    assert matches(text) is True


@pytest.mark.parametrize(
    "text",
    """
    zzz||task-failed||name:add||name=proj.billing.Charge||name!=proj.billing.charge
    name:bill*||name:"proj.*"||exc!~card||uuid:8d37||tree:zzz||tree!=11c0aa
    state:ok||state!=failure||state:active||worker:w[1-3]||worker:w?
    kwargs:queue=prio||kwargs=queue=priority||kwargs.queue=prio||kwargs.queue!=priority
    runtime>2||runtime:3..||runtime:..1||retries:3||queue:x||queue!=x||queue!~x||eta>14:00
    has:queue||any!=CardError,proj.billing.charge||field.percent:51||field.percent:half
    field.note>3||field.note:50||field.load:1||field.load!=1||field.fast:1||field.fast>0
    field.nothing!=1||name:billing state:ok||NOT name:billing||zzz charge OR zzz
    NOT charge zzz||charge (zzz OR name:zzz)
    """.strip().replace("\n    ", "||").split("||"),
)  # fmt: skip
def test_a_filter_stops(text):
    assert matches(text) is False


@pytest.mark.parametrize(("text", "position", "length", "says"), [
    ("state:failure runtme>2", 14, 6, 'unknown field "runtme" (did you mean "runtime"?)'),
    ("excepton:x", 0, 8, 'did you mean "exception"'), ("zzz:1", 0, 3, 'unknown field "zzz"'),
    ("f.=1", 0, 2, 'unknown field "f."'), ("has:nme", 4, 3, 'did you mean "name"'),
    ("date>1", 0, 4, '"date" may be several fields'),
    ("has:any", 4, 3, "several fields"), ("has:tree", 4, 4, "several fields"),
    ("has=name", 0, 4, "does not go with has"), ("runtime~2", 0, 8, "which is a duration"),
    ("a name>2", 2, 5, '">" does not go with name, which is text'),
    ("kwargs['a']>2", 0, 12, '"kwargs.a>" cannot test an argument'),
    ("retries>1,2", 10, 1, "compares with one value"),
    ("state:failrue", 6, 7, 'unknown state "failrue" (did you mean "failure"?)'),
    ("state:z*", 6, 2, "unknown state"), ('state:"re*"', 6, 5, "unknown state"),
    ("state:\x1b[3\u202e", 6, 4, r'"\x1b[3\u202e"'),
    ("name~a)", 5, 2, "unbalanced"), ('name:""', 5, 2, "empty one"), ('""', 0, 2, "empty one"),
    ("retries:x", 8, 1, "not a number"), ("retries:1..x", 8, 4, "not a number"),
    ("retries:3..1", 8, 4, "before it begins"), ("retries:..", 8, 2, "needs an end"),
    ('retries:""', 8, 2, "not a number"), ("runtime>x", 8, 1, "invalid duration"),
    ("runtime between 5 and x", 16, 7, "invalid duration"),
    ('name in ("a"b)', 12, 1, "middle of a word"), ("done>x", 5, 1, "invalid time"),
    ("field.a>5x", 8, 2, "not a number, duration (500ms, 1h30m) or size (64K)"),
    ("age<5m", 0, 3, "need a clock"),
    *((f"clock>{odd}", 6, len(odd), "not a number")
      for odd in ("nan", "inf", "1_000", "0x10", "1e", "--1")),
])  # fmt: skip
def test_what_does_not_fit_is_refused_in_place(text, position, length, says):
    error = mistake(text)
    assert (error.position, error.length, error.text) == (position, length, text)
    assert says in error.message
    assert f"column {position + 1}: " in error.message
    assert error.hint.endswith("evtools help filter lists the fields")


@pytest.mark.parametrize(
    ("text", "clock", "passes"),
    [
        ("clock>1e300", 10**400, True), (f"clock:{10**400}", 10**400, True),
        (f"clock:{10**400}", 10**400 + 1, False), ("clock>=.5", 1, True), ("clock<2", 2, False),
        ("clock<=2", 2, True),
    ],
)  # fmt: skip
def test_integers_of_any_size_are_compared_exactly(text, clock, passes):
    assert matches(text, event("task-received", clock=clock)) is passes


# --- what events tell -----------------------------------------------------------


def value(name, fields, joined=None):
    return EVENT_FIELDS[name].get(event_of(fields, joined or {}))


@pytest.mark.parametrize("name", ["name", "worker", "exc", "tb", "root", "parent", "pid", "queue"])
def test_a_field_is_the_events_own_or_joined(name):
    key = {alias: key for key, alias in list(ALIASES.items())[:5]}.get(name, name)
    assert value(name, {"type": "x", key: "own"}, {key: "joined"}) == "own"
    assert value(name, {"type": "x", key: None}, {key: "joined"}) is None
    assert value(name, {"type": "x"}, {key: "joined"}) == "joined"
    assert value(name, {"type": "x"}) is None


@pytest.mark.parametrize("kind", [*OWN_FIELDS, "task-progress", "worker-x"])
def test_an_event_as_celery_sends_it_has_the_same_fields(kind):
    fields = {name: f"the {name}" for name in OWN_FIELDS.get(kind, (*COMMON, "x"))}
    numbers = ("timestamp", "utcoffset", "pid", "clock", "retries", "runtime", "freq")
    fields |= {name: 7 for name in (*numbers, "active", "processed", "signum") if name in fields}
    fields |= {name: True for name in ("terminated", "expired", "requeue") if name in fields}
    fields |= {"loadavg": [1, 2, 3]} if "loadavg" in fields else {}
    schema = Schema()
    schema.learn({"type": kind, **fields})
    plain = schema.json_event(json.dumps({"type": kind, **fields}).encode())
    plain.stamp(9.0)
    for joined in ({}, {"name": "known", "queue": "mail", "started": 3.0, "args": "(1,)"}):
        plain.known = {name: value for name, value in joined.items() if name not in fields}
        general = event_of({"type": kind, **fields}, plain.known)
        general.stamp(9.0)
        assert plain.original is UNSET
        for name, field in EVENT_FIELDS.items():
            got, expected = field.get(plain), field.get(general)
            if isinstance(got, tuple):
                got, expected = set(got) - {None}, set(expected) - {None}
            assert got == expected, name
            assert field.applies(plain) is field.applies(general)


@pytest.mark.parametrize(("name", "fields", "joined", "expected"), [
    ("sent", {"type": "task-sent", "timestamp": 9}, {}, 9),
    ("started", {"type": "task-started", "timestamp": 16.0}, JOINED, 16.0),
    ("started", {"type": "task-failed", "timestamp": 16.0}, {"started": 15.0}, 15.0),
    ("received", {"type": "task-failed", "received": 99.0}, {}, None),
    ("done", {"type": "task-revoked", "timestamp": 20}, {}, 20.0),
    ("done", {"type": "task-retried", "timestamp": 20}, {}, None),
    ("wait", {"type": "task-started", "timestamp": 16.0}, {"sent": 10.0}, 6.0),
    ("wait", {"type": "task-started", "timestamp": 16.0}, {}, None),
    ("wait", {"type": "task-received", "timestamp": 12.0}, {}, None),
    ("queue_time", {"type": "task-received", "timestamp": 12.0}, {"sent": 10.0}, 2.0),
    ("lag", {"type": "x", "timestamp": {}, "local_received": 1.0}, {}, None),
    ("lag", {"type": "x", "timestamp": 1, "local_received": 1.5}, {}, 0.5),
    ("runtime", {"type": "task-succeeded", "runtime": 2}, {}, 2.0),
    ("runtime", {"type": "task-failed", "timestamp": 17.5}, {"started": 15.0}, 2.5),
    ("runtime", {"type": "task-failed", "timestamp": 17.5}, {}, None),
    ("runtime", {"type": "task-revoked", "timestamp": 17.5}, {"started": 15.0}, None),
    *(("runtime", {"type": "task-failed", "runtime": odd}, {}, None)
      for odd in (True, float("inf"), 10**400)),
    ("eta", {"eta": "1970-01-01T00:01:00+00:00"}, {}, 60.0),
    ("eta", {"eta": "1970-01-01T00:01:00"}, {}, 60.0), ("eta", {"eta": 60}, {}, 60.0),
    ("eta", {"eta": "0001-01-01T00:00:00+14:00"}, {}, -62135647200.0),
    ("eta", {"eta": "soon"}, {}, None), ("eta", {"eta": []}, {}, None),
    ("tree", {"uuid": "u", "root_id": "r"}, {}, ("u", "r", None)),
    *(("state", {"type": kind}, {}, state) for kind, state in (
        ("task-sent", "PENDING"), ("task-cancelled", "CANCELLED"), ("task-progress", None),
        (["task-sent"], None), (None, None))),
])  # fmt: skip
def test_times_and_spans_are_of_known_moments(name, fields, joined, expected):
    assert value(name, fields, joined) == expected


# --- notes ----------------------------------------------------------------------


def test_a_field_no_event_had_is_noted():
    mail = compile_filter("queue:mail")
    assert mail.unknown() == []
    mail.matches(HEARTBEAT)
    assert mail.unknown() == []
    mail.matches(STARTED)
    (note,) = mail.unknown()
    assert note.startswith("queue: unknown for 100% of events (task_send_sent_event is off")
    mail.matches(event("task-sent", queue="mail"))
    assert mail.unknown() == []


@pytest.mark.parametrize(("text", "kind", "notes"), [
    ("exc:a OR exc:b", "task-failed", ["exc: unknown for 100% of events"]),
    ("exc:a OR done>1:00", "task-sent", []), ("name:x", "worker-online", []),
    ("done>1:00", "task-revoked", ["done: unknown for 100% of events"]),
    ("field.percent>5", "x", ["field.percent: unknown for 100% of events (none has it)"]),
    ("zzz queue:x", "task-sent", []),
])  # fmt: skip
def test_notes_are_on_events_that_should_have_the_field(text, kind, notes):
    made = compile_filter(text)
    made.matches(event(kind))
    assert made.unknown() == notes


def test_a_text_that_takes_too_long_to_search_is_noted():
    search = compile_filter("tb~(a|a)+$")
    assert search.matches(event("task-failed", traceback="x\naaa\ny"))
    assert search.unknown() == []
    assert not search.matches(event("task-failed", traceback="a" * 60 + "!"))
    assert search.unknown() == ["tb: 1 texts were not searched to their end (it took too long)"]


@pytest.mark.parametrize("wrong", ["1", True, [1], {}, None, float("nan")])
def test_a_wrong_type_is_unknown(wrong):
    retries = compile_filter("retries!=7")
    assert not retries.matches(event("task-received", retries=wrong))
    assert retries.unknown()
    assert retries.matches(event("task-received", retries=3))
    assert retries.unknown() == []


def test_filters_are_combined():
    chosen = all_of(
        compile_filter("worker:w1"),
        exclude([compile_filter("type:worker-heartbeat"), compile_filter("queue:x")]),
    )
    assert chosen.matches(STARTED)
    assert not chosen.matches(HEARTBEAT)
    assert chosen.text == "(worker:w1) (NOT (type:worker-heartbeat) NOT (queue:x))"
    assert len(chosen.unknown()) == 1
    assert all_of(compile_filter("name=x"), compile_filter("y")).hints()[1].startswith('"y" was')


# --- any JSON -------------------------------------------------------------------

PLAIN = st.booleans() | st.integers() | st.floats() | st.text("a=b,{}'\x1b")
JSON = st.recursive(
    st.none() | PLAIN | st.just(10**400),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab"), inner, max_size=3),
    max_leaves=5,
)
# fmt: off
KEYS = st.sampled_from([
    "type", "hostname", "timestamp", "local_received", "uuid", "name", "args", "kwargs", "result",
    "exception", "traceback", "queue", "exchange", "routing_key", "root_id", "parent_id",
    "runtime", "retries", "pid", "clock", "eta", "sent", "received", "started", "x",
])
TERMS = st.sampled_from([
    f"{name}{sign}{value}"
    for names, signs, value in (
        ("name worker host kwargs result exc tb type uuid root tree any f.x", ": = != ~ !~", "x"),
        ("runtime wait queue_time age lag retries pid clock f.x", ": != > <=", "1"),
        ("sent received started done eta", ": != < >=", "14:30"),
        ("state", ": !=", "bad"), ("has", ":", "eta,lag,age"), ("kwargs", ":", "a=b"),
        ("name", ":", "*a*"), ("done", ":", "..2026-01-01"),
    )
    for name in names.split()
    for sign in signs.split()
])
# fmt: on
EVENTS = st.dictionaries(KEYS, JSON | st.sampled_from(list(EVENT_STATES)))


@given(TERMS | st.just("x"), EVENTS, EVENTS)
def test_no_json_makes_a_filter_raise(text, fields, joined):
    event = event_of(fields, joined)
    assert matches(text, event) is not matches(f"NOT {text}", event)


# --- tasks ----------------------------------------------------------------------


class Task(SimpleNamespace):
    """A task, as far as filters use it."""

    def __init__(self, **fields):
        usual = {"state": "SUCCESS", "uuid": "7a8b8d37", "name": "proj.add", "ready": True}
        usual |= {"hostname": "w1@ip-10-2", "worker": SimpleNamespace(skew=2.0)}
        usual |= {"timestamp": 990.0, "local_received": 991.5, "runtime": None, "started": None}
        super().__init__(**{**usual, **fields})

    def get(self, name, default=None):
        return getattr(self, name, default)

    def lost(self, now):
        return self.state == "STARTED" and now > 1500


def task_matches(text, task, now=1000.0):
    table = task_fields(lambda _: now)
    return compile_filter(text, fields=table, now=lambda: now).matches(task)


@pytest.mark.parametrize(("text", "fields"), [
    ("state:failure,retry", {"state": "RETRY"}), ("state:run state:active", {"state": "STARTED"}),
    ("name:proj.* -name:other add", {}), ("worker:w1 host=ip-10-2 w1@ tree:7a8b uuid:7a8b", {}),
    ("succeeded", {}), ("kwargs:queue=priority", {"kwargs": "{'queue': 'priority'}"}),
    ("result:42", {"result": "42"}), ("has:tb", {"traceback": "Traceback"}),
    ("exc~^Card", {"state": "FAILURE", "exception": "CardError()"}),
    ("-has:queue", {"queue": None}),
    ("queue:mail exchange=x", {"queue": "mail", "exchange": "x"}),
    ("routing_key=r", {"routing_key": "r"}), ("runtime>2 runtime:2s..3s", {"runtime": 2.5}),
    ("root:11c0 parent:4be1 tree:11c0", {"root_id": "11c0", "parent_id": "4be1"}),
    ("wait>500ms queue_time<1s", {"wait": 0.6, "queue_time": 0.1}), ("age<10s lag>1s", {}),
    ("retries>=3 pid=7 clock>1", {"retries": 3, "pid": 7, "clock": 2}),
    ("sent:0:16 received:0:16", {"sent": 965.0, "received": 965.0}),
    ("started:0:16 done:0:16", {"started": 965.0, "done": 965.0}),
    ("eta>1970-01-01", {"eta": "1970-01-02T00:00:00Z"}), ("lost:false", {}),
    ("field.client:gen", {"client": "gen1@host"}),
])  # fmt: skip
def test_a_filter_passes_a_task(text, fields):
    assert task_matches(text, Task(**fields))


def test_a_running_task_has_run_so_far():
    running = Task(state="STARTED", started=902.0)
    assert running_since(running) == 900.0
    assert task_matches("runtime>99 runtime<101", running)
    assert not task_matches("runtime>99", Task(state="STARTED"))
    assert not task_matches("runtime>99", Task(state="RECEIVED", started=902.0))
    assert task_matches("runtime:0", Task(state="STARTED", started=5000.0))
    assert running_since(Task(state="STARTED", started=5.0, worker=None)) == 5.0

    assert not task_matches("lost:true", running)
    assert task_matches("lost:true", running, now=2000.0)


def test_a_filter_knows_whether_time_alone_may_change_it():
    for text in ("age<5m", "runtime>5", "lost:true", "name:x done>1:00"):
        made = compile_filter(text, fields=task_fields(lambda _: NOW), now=lambda: NOW)
        assert made.drifts is ("name" not in text)


@pytest.mark.parametrize("fields", [EVENT_FIELDS, TASK_FIELDS])
def test_an_argument_can_be_named_where_no_field_is_like_it(fields):
    def found(text, kwargs="{'user_id': 42, 'nam': 'x'}"):
        subject = event("task-received", uuid="u", kwargs=kwargs)
        return compile_filter(text, fields=fields).matches(subject)

    assert found("user_id=42")
    assert found("USER_ID=4*")
    assert found("user_id!=4")
    assert not found("user_id=4")
    assert not found("user_id!=42")
    assert not found("other_id=42")
    for text in ("nam=x", "date=x", "user_id:42", "user_id>4", "user.id=42", "has:user_id"):
        with pytest.raises(FilterError):
            found(text)
    hint, _ = compile_filter("user_id=43", fields=fields).hints()
    assert hint == "user_id is no field, and was looked for as kwargs.user_id"


def test_rows_without_arguments_know_only_their_fields():
    fields = {"name": TASK_FIELDS["name"]}
    with pytest.raises(FilterError, match='unknown field "user_id"'):
        compile_filter("user_id=42", fields=fields)


def test_tasks_have_the_fields_of_events_but_the_type():
    assert set(TASK_FIELDS) == set(EVENT_FIELDS) - {"type"} | {"lost", "due"}
    with pytest.raises(FilterError, match="unknown field"):
        compile_filter("type:task-*", fields=TASK_FIELDS)


@pytest.mark.parametrize("junk", [[], {}, True, "x", float("nan"), 10**400])
def test_any_json_in_any_field_of_a_task_is_survived(junk):
    names = ("runtime", "wait", "started", "eta", "retries", "args", "queue", "root_id")
    task = Task(state="STARTED", **dict.fromkeys(names, junk))
    for name in set(TASK_FIELDS) - {"has", "any", "age", "tree"}:
        task_matches(f"has:{name}", task)
    for text in ("tree:x", "x", "runtime>5", "age>1s"):
        assert task_matches(text, task) in (True, False)


# --- for messages ---------------------------------------------------------------


@pytest.mark.parametrize(("text", "shown", "marks"), [
    ("state:failure runtme>2", "  state:failure runtme>2", "                ^^^^^^"),
    ("中\x1b runtme>2", "  中\\x1b runtme>2", "         ^^^^^^"), ("name:", "  name:", "       ^"),
])  # fmt: skip
def test_carets_stand_under_the_mistake(text, shown, marks):
    assert caret(mistake(text)).split("\n") == [shown, marks]


def test_a_long_filter_is_shown_around_the_mistake():
    shown, marks = caret(mistake("a " * 50 + "runtme>2 " + "b " * 40)).split("\n")
    assert len(shown) < 90
    assert (shown[:4], shown[-2:]) == ("  ..", "..")
    assert shown[marks.index("^") :].startswith("runtme")
    shown, marks = caret(mistake("clock>" + "a*" * 40)).split("\n")
    assert shown.endswith("..")
    assert len(marks) == len(shown)


@given(st.text(), st.integers(0, 30), st.integers(1, 30))
def test_carets_take_two_printable_lines(text, position, length):
    error = FilterError("bad", text=text, position=position, length=length)
    shown, marks = caret(error).split("\n")
    assert shown.isprintable()
    assert marks.strip(" ^") == ""


@pytest.mark.parametrize(
    ("argument", "says"),
    [
        ("runtime", "write runtime:2.."), (" Runtime ", "'runtime>2'"),
        ("done", "write done:14:30.."), ("name", "write any:name"), ("has", "write any:has"),
        ("charge", ""), ("runtime>2", ""), ("", ""), ("a runtime", ""),
    ],
)  # fmt: skip
def test_a_bare_field_name_may_be_what_the_shell_left_of_a_filter(argument, says):
    hint = shell_trap(argument) or ""
    assert says in hint
    assert ('did the shell take your ">"' in hint) is bool(says)
