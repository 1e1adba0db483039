"""Lines for people, and lines after a template."""

import re
from textwrap import dedent

import pytest

from evtools.dump.options import DumpOptions
from evtools.dump.text import TemplateError, TemplateFormatter, TextFormatter
from tools.gaps import gap
from tools.typed import event_of

UUID = "eacdf44c-6aa4-4bb2-8c0e-0d2f1fe1a1ef"
WORKER = "celery@vm"
JOINED = {"name": "proj.add", "args": "(1, 2)", "kwargs": "{}", "started": 10.0}


def lines(*pairs, **options):
    """Return what is printed for (event, joined) pairs, without times."""
    formatter = TextFormatter(DumpOptions(**{"timestamps": "none", **options}))
    text = b"".join(formatter.format(event_of(*pair)) for pair in pairs).decode()
    assert text.endswith("\n")
    return text


def line(event, joined=None, **options):
    return lines((event, joined or {}), **options).removesuffix("\n")


def task(kind, **fields):
    return {"type": f"task-{kind}", "hostname": WORKER, "uuid": UUID, **fields}


def worker(kind, **fields):
    return {"type": f"worker-{kind}", "hostname": WORKER, **fields}


@pytest.mark.parametrize(
    ("event", "shown"),
    [
        (task("sent", queue="mail"), "SENT   {} (1, 2)  queue=mail"),
        (task("sent", args="[]", queue=None), "SENT   {}"),
        (task("received", kwargs="{'a': 1}"), "RECV   {} (1, 2) {{'a': 1}}"),
        (task("started"), "START  {} (1, 2)"),
        (task("succeeded", runtime=0.2, result="3"), "OK     {} (1, 2) 200ms  3"),
        (task("failed", exception="KeyError(1)"), "FAIL   {} (1, 2)  KeyError(1)"),
        (task("failed", timestamp=10.006), "FAIL   {} (1, 2) 6ms"),
        (task("retried", exception="Retry()"), "RETRY  {} (1, 2)  Retry()"),
        (
            task("revoked", terminated=True, signum=9, expired=False),
            "REVOKE {} (1, 2)  terminated=true signum=9",
        ),
        (task("rejected", requeue=True), "REJECT {} (1, 2)  requeue=true"),
        (task("cancelled"), "CANCEL {} (1, 2)"),
        (task("progress", done=3), "task-progress {} (1, 2)  done=3"),
    ],
)
def test_a_task_event_shows_its_task_and_what_happened(event, shown):
    assert line(event, JOINED) == shown.format("celery@vm  proj.add[eacdf44c]")


@pytest.mark.parametrize(
    ("event", "shown"),
    [
        (
            worker("heartbeat", active=0, processed=5, loadavg=[1.07, 1, 1]),
            "beat   celery@vm  active=0 processed=5 load=1.07",
        ),
        (worker("heartbeat", loadavg=[]), "beat   celery@vm  load=[]"),
        (
            worker("online", sw_ident="py-celery", sw_ver="5.6.2", sw_sys="Linux"),
            "online celery@vm  py-celery 5.6.2 Linux",
        ),
        (worker("offline", freq=2.0), "offline celery@vm"),
        ({"type": "deploy-done", "name": "web", "n": [1]}, "deploy-done -  name=web  n=[1]"),
        ({"type": "x", "uuid": "u1"}, "x      -  ?[u1]"),
        ({"type": "task-failed", "hostname": 7}, "FAIL   7  ?"),
        ({"type": "task-failed", "uuid": None}, "FAIL   -  ?"),
    ],
)
def test_other_events_show_what_they_have(event, shown):
    assert line(event) == shown


@pytest.mark.parametrize(
    ("event", "shown"),
    [
        (
            gap("reconnect", 1.0, 5.2, error="Connection refused"),
            "GAP    4.20s without events: reconnect (Connection refused)",
        ),
        (gap("worker", 1.0, 1.0, hostname="w1@h", missed=12), "GAP    ~12 tasks of w1@h not seen"),
    ],
)
def test_a_gap_is_a_sentence(event, shown):
    assert line(event) == shown


def test_the_time_comes_first_and_keeps_its_column():
    event = task("started", timestamp=12.0)
    assert line(event, timestamps="utc").startswith("00:00:12.000Z START  celery@vm")
    assert line(task("started"), timestamps="utc").startswith("            - START ")
    assert line(event, timestamps="start").startswith("   +0.000 START ")


def test_the_column_of_workers_grows_with_the_longest_name():
    names = ["a", "celery@vm", "b", "c" * 31, "b"]
    shown = lines(
        *((worker("offline", hostname=name) | {"type": "x", "n": 1}, {}) for name in names)
    )
    assert [text.index("n=") for text in shown.splitlines()] == [10, 18, 18, 40, 18]


# --- how much -----------------------------------------------------------------------


def test_quiet_is_type_and_name():
    assert line(task("failed"), JOINED, quiet=True) == "task-failed proj.add"
    assert line(worker("heartbeat"), quiet=True) == "worker-heartbeat celery@vm"
    assert line({"type": "x"}, quiet=True) == "x"
    assert line(gap("stopped", 1.0, 2.0), quiet=True) == (
        "evdump-gap 1.00s without events: stopped"
    )


VERBOSE = task("received", root_id=UUID, parent_id="p1", eta=None, retries=1, pid=7, timestamp=1.0)


def test_verbose_names_the_rest():
    assert line(VERBOSE, {**JOINED, "queue": "mail"}, verbosity=1).endswith(
        "(1, 2)  parent_id=p1  retries=1  queue=mail"
    )
    assert line(worker("heartbeat", active=1, freq=2.0), verbosity=1) == (
        "beat   celery@vm  active=1  freq=2.0"
    )


def test_very_verbose_names_the_protocol_too():
    assert line(VERBOSE, JOINED, verbosity=2).endswith(
        "parent_id=p1  retries=1  timestamp=1.0  pid=7  started=10.0"
    )


FAILED = task("failed", exception="E()", traceback="Traceback:\n  File\x1b\n\nE()\n")


def test_a_traceback_is_shown_when_very_verbose_and_stays_in_the_line():
    assert "Traceback" not in line(FAILED, verbosity=1)
    assert line(FAILED, verbosity=2).endswith(r"E()  traceback=Traceback:\n  File\x1b\n\nE()\n")
    assert line(task("failed"), verbosity=2).endswith("?[eacdf44c]")


def test_on_a_terminal_a_traceback_has_its_own_lines():
    shown = line(FAILED, verbosity=2, multiline=True)
    assert shown == "FAIL   celery@vm  ?[eacdf44c]  E()\n" + dedent(r"""
        |    Traceback:
        |      File\x1b
        |
        |    E()""").replace("|", "").lstrip("\n")
    for options in ({"verbosity": 1}, {"verbosity": 2, "quiet": True}):
        assert "\n" not in line(FAILED, multiline=True, **options)
    assert "\n" not in line(task("failed"), verbosity=2, multiline=True)


def test_a_long_value_is_cut_and_the_cut_shows():
    event = task("sent", args="x" * 500)
    assert line(event).endswith(f" {'x' * 79}…")
    assert line(event, verbosity=1).endswith(f" {'x' * 399}…")
    assert line(event, full=True).endswith(f"?[{UUID}] {'x' * 500}")


def test_what_the_sender_cut_is_told():
    args = f"({'1, ' * 400}...)"
    assert line(task("sent", args=args)).endswith("… (cut by sender)")
    assert line(task("sent", args=args), full=True).endswith("...) (cut by sender)")
    assert line(task("sent", args="('wait...',)")).endswith("('wait...',)")


def test_a_value_that_takes_no_columns_is_cut_too():
    shown = line(task("sent", args="\u0301" * 10_000))
    assert len(shown) < 500
    assert shown.endswith("…")


def test_nothing_from_the_wire_reaches_the_terminal_as_it_is():
    evil = "[red]\x1b[31m\u202e\n"
    event = dict.fromkeys(("type", "hostname", "uuid", "name", "args", evil), evil)
    for verbosity in range(3):
        shown = line(event, verbosity=verbosity)
        assert shown.isprintable()
        assert shown.startswith(r"[red]\x1b[31m\u202e\n ")


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


def test_without_colour_nothing_is_highlighted():
    assert "\x1b" not in line(FAILED, highlight="FAIL")


# --- templates ------------------------------------------------------------------------

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
    formatter = TemplateFormatter(DumpOptions(template=template, timestamps="utc"))
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
        TemplateFormatter(DumpOptions(template=template))
    assert caught.value.message == f"bad template at column {column}: {problem}"
    assert (caught.value.text, caught.value.position) == (template, column - 1)
    assert "{runtime:.3f}" in caught.value.hint
