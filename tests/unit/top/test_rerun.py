"""Arguments out of events: all of them, or a reason why not."""

import json
import shlex
from types import SimpleNamespace

import pytest
from celery.utils.saferepr import saferepr
from hypothesis import given
from hypothesis import strategies as st

from evtools.errors import UsageError
from evtools.top.rerun import call_of, celery_line, python_line


def task(args="()", kwargs="{}", name="shop.pay", queue=None):
    return SimpleNamespace(name=name, args=args, kwargs=kwargs, queue_or_none=queue)


def sent(args=(), kwargs=None):
    """Return a task as the events of Celery have it."""
    return task(saferepr(args, 1024), saferepr(kwargs or {}, 1024))


@pytest.mark.parametrize(
    ("args", "kwargs"),
    [
        ((), {}),
        ((1,), {}),
        ((1, -2.5, 1e300, True, None), {}),
        (("x", "é \U0001f600", ""), {"name": "it's"}),
        (([1, [2, 3]],), {"deep": {"a": {"b": 1}}}),
        ((("a", "b"),), {"when": "2026-11-30T12:00:00+00:00"}),
        (("say 'no'", "it's, 'a'"), {"1": [{}]}),
    ],
)  # fmt: skip
def test_the_arguments_are_those_that_were_sent(args, kwargs):
    assert call_of(sent(args, kwargs)) == ("shop.pay", list(args), kwargs)


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


@given(st.lists(values, max_size=4), st.dictionaries(st.text("xy'\\"), values, max_size=2))
def test_no_other_arguments_are_ever_taken_for_those_that_were_sent(args, kwargs):
    try:
        found = call_of(sent(tuple(args), kwargs))
    except UsageError:
        return
    assert found == ("shop.pay", args, kwargs)


def test_the_arguments_may_be_as_python_writes_them():
    assert call_of(task('("it\'s",)', "{'a': \"'\"}"))[1:] == (["it's"], {"a": "'"})


def test_a_task_without_a_name_cannot_be_sent():
    with pytest.raises(UsageError, match="name is unknown"):
        call_of(task(name=None))


def test_there_are_lines_to_copy():
    whole = task("(1, 'a b')", "{'x': None}", queue="mail")
    words = shlex.split(celery_line(whole))
    assert words[:5] == ["celery", "-A", "PROJECT", "call", "shop.pay"]
    assert json.loads(words[words.index("-a") + 1]) == [1, "a b"]
    assert json.loads(words[words.index("-k") + 1]) == {"x": None}
    assert words[-2:] == ["--queue", "mail"]
    cut = task("('\x1b[2J...',\n__import__('os'))", queue="mail")
    assert python_line(cut) == (
        "app.send_task('shop.pay', args=..., kwargs=..., queue='mail')"
        r"  # ('\x1b[2J...', __import__('os')) {}"
    )
    assert python_line(whole) == (
        "app.send_task('shop.pay', args=(1, 'a b'), kwargs={'x': None}, queue='mail')"
    )
