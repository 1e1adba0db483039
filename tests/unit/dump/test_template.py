"""Lines after a template."""

import pytest

from evtools.dump.formats import FormatOptions
from evtools.dump.template import TemplateError, TemplateFormatter
from evtools.errors import UsageError
from tools.gaps import gap
from tools.typed import event_of

EVENT = {
    "type": "task-succeeded",
    "timestamp": 12.0,
    "uuid": "eacdf44c-6aa4-4bb2-8c0e-0d2f1fe1a1ef",
    "runtime": 0.12345,
    "retries": 3,
    "eta": None,
    "args": ["a", 1],
    "x-odd": "y",
    "evil": "a\n\x1b[2J",
}


def filled(template, event=EVENT, joined=(("name", "proj.add"),)):
    formatter = TemplateFormatter(FormatOptions(template=template, timestamps="utc"))
    return formatter.format(event_of(event, dict(joined))).decode()


@pytest.mark.parametrize(
    ("template", "line"),
    [
        ("{ts} {type} {name}", "00:00:12.000Z task-succeeded proj.add"),
        ("{name}[{uuid:8}]", "proj.add[eacdf44c]"),
        ("{name:4}|{name:20}|", "proj|proj.add|"),
        ("{name:<10}|{name:>10}|{name:^10}|", "proj.add  |  proj.add| proj.add |"),
        ("{name:*^10}|{name:<2}|", "*proj.add*|proj.add|"),
        ("{name:.3}|{name:>5.3}|", "pro|  pro|"),
        ("{runtime:.3f} {runtime:f} {runtime:>8.1f}", "0.123 0.123450      0.1"),
        ("{retries:d} {runtime:d} {retries:.2f} {retries}", "3 0 3.00 3"),
        ("{name:d} {name:.3f} {name:s}", "proj.add proj.add proj.add"),
        ("{eta} {nope} {nope:>5}|", "- -     -|"),
        ("{args} {args!j} {name!j} {eta!j} {nope!j:2}", '["a",1] ["a",1] "proj.add" null nu'),
        ("{{{name}}} {{}}", "{proj.add} {}"),
        (r"a\tb\\c\x", "a\tb\\c\\x"),
        (r"{name}\n  {type}", "proj.add\n  task-succeeded"),
        ("{x-odd}", "y"),
        ("{evil}", "a\\n\\x1b[2J"),
        ("{evil!j}", '"a\\n\\u001b[2J"'),
        ("", ""),
    ],
)
def test_a_template_is_filled(template, line):
    assert filled(template) == line + "\n"


def test_what_celery_does_not_tell_is_worked_out():
    event = {
        "type": "task-failed",
        "timestamp": 12.0,
        "exception": "ExceptionWithTraceback()",
        "traceback": "x\nTimeLimitExceeded(3,)",
    }
    assert filled("{runtime:.1f} {exception}", event, {"started": 10.0}) == (
        "2.0 TimeLimitExceeded(3,)\n"
    )


def test_a_gap_is_a_sentence_whatever_the_template():
    assert filled("{name}", gap("reconnect", 1.0, 5.2)) == (
        "00:00:05.200Z evdump-gap 4.20s without events: reconnect\n"
    )


@pytest.mark.parametrize(
    ("template", "problem", "column"),
    [
        ("{name", '"{" without its other half', 1),
        ("ab }", '"}" without its other half', 4),
        ("{}", "empty field", 2),
        ("{0}", '"0" is no field', 2),
        ("{name.__class__}", '"name.__class__" is no field', 2),
        ("{args[0]}", '"args[0]" is no field', 2),
        ("{name!r}", '"name!r" is no field', 2),
        ("{name\x1b}", '"name\\x1b" is no field', 2),
        ("ab {name:x}", '"x" is no format', 10),
        ("{name!j:,}", '"," is no format', 9),
        ("{name:99999}", '"99999" is no format', 7),
        ("{name:{uuid}}", '"{" without its other half', 1),
    ],
)
def test_a_bad_template_says_what_and_where(template, problem, column):
    with pytest.raises(TemplateError) as caught:
        TemplateFormatter(FormatOptions(template=template))
    assert isinstance(caught.value, UsageError)
    assert caught.value.message == f"bad template at column {column}: {problem}"
    assert (caught.value.text, caught.value.position) == (template, column - 1)
    assert "{runtime:.3f}" in caught.value.hint
