"""Arguments out of events: all of them, or a reason why not."""

import ast
import base64
import json
import shlex
from types import SimpleNamespace

import pytest
from celery.utils.saferepr import saferepr
from hypothesis import given
from hypothesis import strategies as st

from evtools.errors import UsageError
from evtools.rows import WorkerFacts
from evtools.state import State
from evtools.top.control import BY_NAME
from evtools.top.rerun import call_of, celery_line, prepare_again, python_line
from evtools.top.ui.widgets import plain


def task(args="()", kwargs="{}", name="shop.pay", queue=None, **fields):
    known = {"uuid": "4f", "root_id": None, "exchange": None, "routing_key": None} | fields
    return SimpleNamespace(name=name, args=args, kwargs=kwargs, queue_or_none=queue, **known)


def sent(args=(), kwargs=None, chars=1024):
    """Return a task as the events of Celery have it."""
    return task(saferepr(args, chars), saferepr(kwargs or {}, chars))


@pytest.mark.parametrize(
    ("args", "kwargs", "why"),
    [
        (None, "{}", "arguments are unknown"),
        ("()", None, "keyword arguments are unknown"),
        ("('x...', 2)", "{}", "were cut"),
        ("(1, ...)", "{}", "were cut"),
        ("()", "{'a': [...]}", "were cut"),
        ("(<Order 7>,)", "{}", "not literals"),
        ("(datetime.datetime(2026, 1, 1),)", "{}", "not literals"),
        ("(__import__('os').system('x'),)", "{}", "not literals"),
        ("(UUID('x'),)", "{}", "not literals"),
        ("(Decimal('1.0'),)", "{}", "not literals"),
        (r"('C:\new',)", "{}", "not literals"),
        (r"('a\', 'b\')", "{}", "not literals"),
        (r"('\x41',)", "{}", "not literals"),
        ("(b'x',)", "{}", "not literals"),
        ("({1, 2},)", "{}", "not literals"),
        ("(1j,)", "{}", "not literals"),
        ("(1 + 2,)", "{}", "not literals"),
        ("( 1, )", "{}", "not literals"),
        ("1", "{}", "not literals"),
        ("", "{}", "not literals"),
        ("()", "[]", "not literals"),
        ("()", "{1: 2}", "names that are no text"),
        ("({(1, 2): 3},)", "{}", "not literals"),
        ("({'__type__': 'bytes', '__value__': 'eA=='},)", "{}", "not literals"),
        ("()", "{'card': '**** **** **** 5678'}", "arguments are masked"),
        (f"('{'x' * 17000}',)", "{}", "more than 16384 characters"),
        ("(" * 2000 + ")" * 2000, "{}", "not literals"),
        ("[" * 90 + "]" * 90, "{}", "not literals"),
    ],
)  # fmt: skip
def test_what_is_not_whole_is_refused(args, kwargs, why):
    with pytest.raises(UsageError, match=why):
        call_of(task(args, kwargs))


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.sampled_from("a'\\\"n,() \n[]{}:.é"), max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text("ab'\\", max_size=3), inner, max_size=2)
    ),
    max_leaves=6,
)


@given(
    st.lists(values, max_size=4),
    st.dictionaries(st.text("xy'\\"), values, max_size=2),
    st.just(1024) | st.integers(1, 60),
)
def test_no_other_arguments_are_ever_taken_for_those_that_were_sent(args, kwargs, chars):
    try:
        found = call_of(sent(tuple(args), kwargs, chars))
    except UsageError:
        return
    assert found[:3] == ("shop.pay", args, kwargs)


def test_the_arguments_may_be_as_python_writes_them():
    assert call_of(task('("it\'s",)', "{'a': \"'\"}"))[1:3] == (["it's"], {"a": "'"})


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"name": None}, "name is unknown"),
        ({"name": "shop.pay\x1b[2J"}, "name has blanks, or characters that cannot be shown"),
        ({"name": "shop.pay queue safe"}, "name has blanks"),
        ({"name": "shop.***"}, "name is masked"),
        ({"name": "é" * 128}, "name is longer than 255 bytes"),
        ({"uuid": "4\n"}, "its id has blanks"),
        ({"root_id": "\ud800"}, "root's id has blanks"),
        ({"queue": "celery@web-1.celery.pidbox"}, "its queue is not a queue of tasks"),
        ({"exchange": "", "routing_key": "amq.gen-x"}, "its queue is not a queue of tasks"),
        ({"queue": "mail\n"}, "its queue has blanks"),
    ],
)
def test_what_cannot_be_shown_whole_is_not_sent(fields, why):
    with pytest.raises(UsageError, match=why):
        call_of(task(**fields))


@pytest.mark.parametrize(
    ("fields", "queue"),
    [
        ({"queue": "mail"}, "mail"),
        ({"exchange": "", "routing_key": "mail"}, "mail"),
        ({"exchange": "shop", "routing_key": "mail"}, ""),
        ({"routing_key": "mail"}, ""),
    ],
)
def test_the_queue_is_the_one_it_was_sent_to_where_that_is_certain(fields, queue):
    assert call_of(task(**fields)).queue == queue


def test_it_belongs_to_the_first_task_of_the_workflow():
    assert call_of(task())[-2:] == ("4f", "4f")
    assert call_of(task(root_id="2a"))[-2:] == ("2a", "4f")


VALUES = ["é \u202e\ufe00\x7f\xa0 $(id) `id` !x \\ %", "-"]


def test_the_lines_to_copy_have_the_same_call():
    text = "('é \u202e\ufe00\x7f\xa0 $(id) `id` !x %', '-')"
    whole = task(text, "{'x': None}", name="-x", queue="--mail")
    value = ["é \u202e\ufe00\x7f\xa0 $(id) `id` !x %", "-"]
    words = shlex.split(celery_line(whole))
    assert words[:5] == ["celery", "-A", "PROJECT", "call", "-a"]
    assert json.loads(words[5]) == value
    assert json.loads(words[words.index("-k") + 1]) == {"x": None}
    assert words[-3:] == ["--queue=--mail", "--", "-x"]
    line = python_line(whole)
    assert line.isprintable()
    [call] = ast.parse(line).body
    assert [ast.literal_eval(one) for one in call.value.args] == ["-x"]
    given = {one.arg: ast.literal_eval(one.value) for one in call.value.keywords}
    assert given == {"args": tuple(value), "kwargs": {"x": None}, "queue": "--mail"}


@pytest.mark.parametrize("line", [python_line, celery_line])
def test_a_line_that_lacks_something_says_so_and_does_not_run(line):
    hostile = "('\x1b[2J...',\n__import__('os').system('id'))"
    text = line(task(hostile, name="x'; id #\n", queue="mail"))
    assert text.isprintable()
    if line is celery_line:
        words = shlex.split(text)
        assert words[4:6] == [
            "-a",
            "FILL IN: its name has blanks, or characters that cannot be shown",
        ]
        assert len(words) == 9
    else:
        names = {one.id for one in ast.walk(ast.parse(text)) if isinstance(one, ast.Name)}
        assert names == {"app", "FILL_IN"}
        assert "cannot be shown: ('" in text


# --- from the key to what is sent ---------------------------------------------------------


def lines(terminal, rows=60):
    return [plain(line).rstrip() for line in terminal.session.layer.box(96, rows).lines]


def copied_text(terminal):
    return base64.b64decode(terminal.host.sent[-1].split(";")[-1].rstrip("\a\x1b\\")).decode()


def failed(terminal, uuid, name="shop.pay", **fields):
    life = terminal.life
    received = {key: value for key, value in fields.items() if key != "queue"}
    sent = [life.sent(uuid, name, **fields)] if fields.get("queue", "mail") else []
    terminal.take([*sent, life.received(uuid, name, **received), life.failed(uuid)])


def test_a_failed_task_is_sent_again_as_it_was_when_the_key_was_pressed(terminal):
    terminal.take(terminal.life.beat("w1@host"))
    failed(terminal, "id1", args="('it\\'s', 2)", kwargs="{'to': 'x'}")
    terminal.press("R")
    assert lines(terminal)[-7:-1] == [
        "task    shop.pay",
        "was     id1, FAILURE on w1@host",
        "queue   mail",
        "args    ('it\\'s', 2)",
        "kwargs  {'to': 'x'}",
        "",
    ]
    # Whatever its events say then.
    terminal.take(terminal.life.received("id1", "shop.other", args="('evil',)", retries=1))
    terminal.press("y")
    [request] = terminal.control.submitted
    assert request.targets == ("id1",)
    assert [call[:4] for call in request.calls] == [("shop.pay", ["it's", 2], {"to": "x"}, "mail")]


def test_those_that_cannot_be_are_listed_and_the_others_are_counted(terminal):
    failed(terminal, "id1")
    failed(terminal, "id2", args="('x...',)")
    terminal.take([terminal.life.received("id3"), terminal.life.started("id3")])
    failed(terminal, "id4")
    terminal.press(*["space"] * 4, "R")
    text = lines(terminal)
    assert text[:2] == [
        "1 of 4 not sent: its arguments were cut by the sender.",
        "1 of 4 not sent: it has not ended.",
    ]
    assert text[-4:-2] == ["not     proj.add id3 on w1@host, STARTED", "why     it has not ended"]
    terminal.press("2", "enter")
    [request] = terminal.control.submitted
    assert request.targets == ("id1", "id4")
    assert json.loads(request.audit())["refused"] == {
        "id2": "its arguments were cut by the sender",
        "id3": "it has not ended",
    }


@pytest.mark.parametrize(
    ("key", "copied"),
    [("p", "args=FILL_IN, kwargs=FILL_IN"), ("l", "FILL IN: its arguments were cut")],
)
def test_where_none_can_be_there_are_lines_to_copy(terminal, key, copied):
    failed(terminal, "id1", args="('x...',)")
    terminal.press("R")
    assert lines(terminal)[:2] == [
        "    shop.pay id1 on w1@host, FAILURE",
        "      its arguments were cut by the sender",
    ]
    terminal.press(key)
    assert copied in copied_text(terminal)
    terminal.press("x", key)
    assert copied in copied_text(terminal)
    assert not terminal.control.submitted


@pytest.mark.parametrize(
    ("before", "hint", "typed", "queue"),
    [
        ((), "No event has the queue of shop.pay:", "post", "post"),
        (("mail", "post", "mail"), "others of this type were sent to mail, post:", "", "mail"),
    ],
)
def test_a_queue_that_no_event_has_is_asked_for(terminal, before, hint, typed, queue):
    for number, name in enumerate(before):
        failed(terminal, f"old{number}", queue=name)
    failed(terminal, "id1", queue="")
    terminal.press("R")
    prompt = terminal.session.layer
    assert hint in prompt.hint
    assert prompt.text == (queue if before else "")
    if not typed:
        terminal.press("ctrl-u", *"celeryev.x", "enter")
        assert "is not a queue of tasks" in prompt.notes[0][1]
        terminal.press("ctrl-u", *queue)
    terminal.press(*typed, "enter", "y")
    [request] = terminal.control.submitted
    assert [call.queue for call in request.calls] == [queue]


def test_the_dialog_warns_of_what_is_doubtful(terminal):
    life = terminal.life
    terminal.take(life.success("id0", "shop.pay"), life.success("id3", "shop.pay"))
    failed(terminal, "id1", queue="evil")
    terminal.take([life.received("id2", "shop.pay", parent_id="id1"), life.succeeded("id2")])
    terminal.press("e", "R")
    text = lines(terminal)
    assert text[0] == "1 of 1 may have been run again already: see below."
    assert text[1] == "Most tasks of shop.pay were sent to other queues."
    assert text[2] == "Whether a worker consumes evil is not known (--no-ask)."
    assert "again?  its child id2 of the same type: SUCCESS" in text
    terminal.press("esc", "end", "R")
    assert lines(terminal)[0] == "1 of 1 succeeded."


@pytest.mark.parametrize(
    ("queues", "warns"), [(("mail",), False), (("other",), True), (None, True)]
)
def test_it_warns_of_a_queue_that_no_worker_consumes(terminal, queues, warns):
    terminal.take(terminal.life.beat("w1@host"))
    failed(terminal, "id1", queue="mail")
    survey = SimpleNamespace(
        workers={"w1@host": WorkerFacts(queues=queues)}, close_page=lambda: None
    )
    terminal.session.model.clusters[""].survey = survey
    terminal.press("R")
    assert (
        "No worker is known to consume mail: it may wait there for ever." in lines(terminal)
    ) is warns


def test_the_failed_tasks_of_an_error_are_run_again(terminal):
    for number in range(3):
        failed(terminal, f"id{number}")
    failed(terminal, "other", "shop.ship")
    terminal.press("6", "R")
    assert "Type 3 to confirm:" in lines(terminal)[-1]
    terminal.press("3", "enter")
    assert sorted(terminal.control.submitted[0].targets) == ["id0", "id1", "id2"]


def test_arguments_of_any_length_are_shown_whole(small):
    failed(small, "id1", args=f"('{'x' * 3000} end',)")
    small.press("R")
    shown = lines(small, 22)
    assert len(shown) == 22
    assert "PgDn and PgUp show the rest: 19/" in shown[-3]
    assert not any("end'" in line for line in shown)
    small.press(*["pgdn"] * 5)
    assert any("end'" in line for line in lines(small, 22))
    small.press("y")
    assert small.control.submitted


def test_a_task_that_was_put_back_is_not_sent_a_second_time(terminal):
    life = terminal.life
    rejected = life.event("task-rejected", uuid="id1", hostname="w1@host", requeue=True)
    terminal.take([life.sent("id1"), life.received("id1"), rejected])
    terminal.press("R")
    assert lines(terminal)[1].strip() == "its worker has put it back into its queue"
    terminal.press("esc")
    terminal.take([life.received("id1"), life.failed("id1")])
    terminal.press("R", "y")
    assert terminal.control.submitted


def test_there_is_an_end_to_how_many_are_sent_at_once():
    targets = [str(number) for number in range(1001)]
    with pytest.raises(UsageError, match="1000 tasks are the most"):
        prepare_again(State(), BY_NAME["run-again"], targets, now=0.0)


def test_a_lost_task_is_run_again_with_a_warning(terminal):
    life = terminal.life
    terminal.take(life.beat("w1@host"), life.sent("id1"), life.received("id1"), life.started("id1"))
    terminal.press("R")
    assert lines(terminal)[1].strip() == "it has not ended"
    terminal.press("esc")
    terminal.tick(600)
    terminal.press("R")
    assert "LOST?: the broker may still deliver it once more by itself." in lines(terminal)
    terminal.press("y")
    assert terminal.control.submitted[0].targets == ("id1",)
