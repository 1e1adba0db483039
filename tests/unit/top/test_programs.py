"""[command.NAME]: programs of the user, run on rows that anybody may have made."""

import json
import signal
import sys
import time
from contextlib import contextmanager, suppress

import pytest

from evtools.errors import ConfigError, UsageError
from evtools.top.keys import Keymap
from evtools.top.programs import (
    ARGUMENT_MAX_BYTES,
    OUTPUT_MAX_BYTES,
    ROWS_MAX,
    RUNNING_MAX,
    Programs,
    bindings_of,
    parse_program,
    runs_of,
)
from servers.process import wait_until
from tools.screen import FakeTerminal

PLACE = "/x.toml: command.own"
#: Prints its arguments, and what it has on stdin, as JSON.
SHOW = "import sys, json; print(json.dumps([sys.argv[1:], sys.stdin.read()]))"


def program(*run, name="own", **more):
    return parse_program(name, f"/x.toml: command.{name}", {"run": [*run], **more})


def shower(*arguments, **more):
    return program(sys.executable, "-c", SHOW, *arguments, background=True, **more)


# --- the settings ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("table", "words", "hint"),
    [
        ({}, "run: must be a list of texts", 'run = ["program", "argument", "{uuid}"]'),
        ({"run": "ls {uuid}"}, "run: must be a list of texts, for no shell", "run = ["),
        ({"run": []}, "run: must be a list", ""),
        ({"run": ["a", 1]}, "run: must be a list", ""),
        ({"run": [""]}, "run: has a text that is no argument", ""),
        ({"run": ["a", "\0"]}, "run: has a text that is no argument", ""),
        ({"run": ["{name}"]}, "run: {name} cannot be the program", ""),
        ({"run": ["a", "{uid}"]}, "run: there is no placeholder {uid}", "did you mean {uuid}?"),
        ({"run": ["a", "{}"]}, "run: there is no placeholder {}", "there are uuid, name"),
        ({"run": ["a", "{kwargs.}"]}, "run: there is no placeholder {kwargs.}", ""),
        ({"run": ["a", "{uuid"]}, "run: \"{\" stands alone in '{uuid'", "{{ and }}"),
        ({"run": ["a", "-{name}"]}, "run: in '-{name}' whoever sends events would choose", ""),
        ({"run": ["a", "--{name}=1"]}, "run: in '--{name}=1' whoever", ""),
        ({"run": ["sh", "-c", "echo {name}"]}, "run: sh would run what {name} says", '"$1"'),
        ({"run": ["sudo", "/bin/bash", "-lc", "--", "x{name}"]}, "run: bash would run what", ""),
        ({"run": ["python3.11", "-c", "{json}"]}, "run: python3.11 would run what", ""),
        ({"run": ["psql", "--command", "{name}"]}, "run: psql would run what", ""),
        ({"run": ["ssh", "host", "ls", "{name}"]}, "run: ssh would have a shell run what", "stdin"),
        ({"run": ["a"], "view": ["tasks"]}, "view: there is no such setting", "views?"),
        ({"run": ["a"], "views": ["task"]}, "views: there is no view task", "tasks?"),
        ({"run": ["a"], "views": "tasks"}, "views: must be a list of views", "there are "),
        (
            {"run": ["a", "{uuid}"], "views": ["types"]},
            "run: the view types has no {uuid}",
            "tasks",
        ),
        (
            {"run": ["a", "{uuid}", "{exc}", "{queue}"], "views": ["errors"]},
            "run: the view err",
            "",
        ),
        ({"run": ["a"], "confirm": "yes"}, "confirm: must be true or false", ""),
        ({"run": ["a"], "about": "a\nb"}, "about: must be a text on one line", ""),
        ({"run": ["a"], "stdin": "csv"}, 'stdin: must be "json"', "JSON Lines"),
        ({"run": ["a", "{uuid}"], "stdin": "json"}, "run: {uuid} is of one row", ""),
        ({"run": ["a"], "timeout": "2h"}, "timeout: must be a time of up to", ""),
        ({"run": ["a"], "timeout": True}, "timeout: must be a time", ""),
        ({"run": ["a"], "timeout": [1]}, "timeout: must be a time", ""),
    ],
)
def test_a_mistake_is_named_with_file_table_and_key(table, words, hint):
    with pytest.raises(ConfigError) as caught:
        parse_program("own", PLACE, table)
    assert caught.value.message.startswith(f"{PLACE}.{words}")
    assert hint in caught.value.hint


def test_names_and_keys_must_be_free():
    with pytest.raises(ConfigError, match=r"/x.toml: command.a b: its name must be"):
        program("ls", name="a b")
    for key, problem in (
        ("o", r'/x.toml: command.own.key: the key "o" means "sort" already'),
        ("esc", r'/x.toml: command.own.key: "esc" always leads out'),
        ("xx", r'/x.toml: command.own.key: "xx" is not a key'),
    ):
        with pytest.raises(ConfigError, match=problem):
            Keymap(None, bindings_of([program("ls", key=key)]))
    # One that the settings file has taken away is free.
    keymap = Keymap({"sort": []}, bindings_of([program("ls", "{queue}", key="o", about="list")]))
    assert keymap.find("o", ("lists",)) == "run own"
    [binding] = keymap.help(("lists",), "run own")
    assert binding.help == "list (tasks, queues, events)"


# --- rows that anybody may have made --------------------------------------------------


HOSTILE = (
    "a b", "'", '"; touch /tmp/owned; "', "$(touch owned)", "`x`", "a\nb\t", "%s\\n", "*", "{uuid}",
    "~", "タスク", "x" * 90_000, "a;-rf", "--",
)  # fmt: skip


def on(terminal, own):
    table = terminal.session.table
    return runs_of(own, table, table.targets())


def shown(terminal):
    """Wait for what runs in the background; return its message."""
    programs, deadline = terminal.session.programs, time.monotonic() + 20
    while (outcome := programs.take()) is None:
        assert time.monotonic() < deadline
        programs._closed.wait(0.01)
    return outcome


def output(caplog):
    return [json.loads(record.getMessage()) for record in caplog.records]


@pytest.mark.parametrize("name", HOSTILE, ids=range(len(HOSTILE)))
def test_whatever_a_row_says_is_one_argument_and_no_shell_sees_it(terminal, caplog, name):
    kwargs = repr({"tenant": name})
    terminal.take(terminal.life.received("-rf", name, kwargs=kwargs))
    own = shower("--", "{name}", "pre-{name}", "{{{uuid}}}", "--id={uuid}", "{uuid}", "{cluster}")
    runs = on(terminal, own)
    terminal.session.programs.begin(own, runs)
    assert shown(terminal).good
    expected = ["--", name, f"pre-{name}", "{-rf}", "--id=-rf", "-rf", ""]
    assert runs[0].arguments[3:] == expected
    found = output(caplog)[0]["output"]
    if len(name) < 1000:
        assert json.loads(found) == [expected, ""]
    else:
        assert len(found) == OUTPUT_MAX_BYTES


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("-rf", "{name} is -rf, which "),
        ("--\x80", "{name} has control characters"),
        ("a\0b", "{name} has control characters"),
        ("\x1b[2J", "{name} has control characters"),
        ("\ud800", "{name} is no text"),
        ("x" * 1_000_000, f"is longer than {ARGUMENT_MAX_BYTES} bytes"),
        ("é" * 60_000, f"is longer than {ARGUMENT_MAX_BYTES} bytes"),
        (None, "a row has no name"),
    ],
)
def test_what_cannot_be_an_argument_is_refused(terminal, name, problem):
    terminal.take(terminal.life.received("a", name))
    table = terminal.session.table
    for task in table.rows.values():  # as an event of a hostile sender may have it
        task.name = name
    with pytest.raises(UsageError) as caught:
        on(terminal, shower("{name}"))
    assert problem in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize(
    ("view", "text", "expected"),
    [
        ("tasks", "{state} {worker}", "STARTED w1@host"),
        ("types", "{name}", "proj.slow"),
        ("workers", "{worker}", "w1@host"),
        ("queues", "{queue}", "mail"),
        ("errors", "{name} {exc}", "proj.charge ValueError"),
        ("events", "{name} {kwargs.n}", "proj.slow 1"),
    ],
)
def test_placeholders_are_those_of_the_view(busy, view, text, expected):
    busy.take(busy.life.sent("cccc3333", "proj.slow", queue="mail", kwargs="{'n': 1}"))
    busy.command(f"view {view}")
    busy.tick()
    table, found = busy.session.table, []
    for key in table.keys:
        with suppress(UsageError):
            found += [run.arguments[-1] for run in runs_of(shower(text), table, [key])]
    assert any(one.startswith(expected) for one in found), found
    with pytest.raises(UsageError, match="no longer remembers"):
        runs_of(shower(text), table, ["forgotten"])


def test_marked_rows_are_run_one_by_one_or_all_at_once(crowd, caplog):
    session = crowd.session
    crowd.press("space", "space", "space")
    keys = session.table.targets()
    each = shower("{uuid}")
    session.programs.begin(each, on(crowd, each))
    assert shown(crowd).text == "own: 3 of 3 done"
    assert sorted(json.loads(one["output"])[0][0] for one in output(caplog)) == keys
    caplog.clear()
    all_ = shower(stdin="json")
    session.programs.begin(all_, on(crowd, all_))
    assert shown(crowd).good
    lines = json.loads(output(caplog)[0]["output"])[1].splitlines()
    assert sorted(json.loads(line)["uuid"] for line in lines) == keys
    with pytest.raises(UsageError, match=f"run on {ROWS_MAX} rows at most"):
        runs_of(each, session.table, ["id01"] * (ROWS_MAX + 1))
    with pytest.raises(UsageError, match="there is no row"):
        runs_of(each, session.table, [])
    # Without anything of a row it is run once.
    assert len(on(crowd, program("ls"))) == 1


_FULL = "print('x' * 10 ** 7); import time; time.sleep(99)"


# --- running --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "end"),
    [
        ("raise SystemExit(3)", "own: exit status 3"),
        ("import os; os.kill(os.getpid(), 15)", "own: ended by signal 15"),
        ("print('a\\x1b[2J\\nb')", "own: done: b"),
        ("import os, time; os.fork() or time.sleep(3); print('left', flush=True)", "own: done"),
        (f"import signal; signal.signal(15, signal.SIG_IGN); {_FULL}", "own: killed after 300ms"),
        ("import os, time; os.close(1); os.close(2); time.sleep(99)", "own: killed after 300ms"),
    ],
    ids=["status", "signal", "output", "daemon", "deaf", "silent"],
)
def test_how_a_program_in_the_background_ends_is_said(terminal, caplog, code, end):
    timeout = 0.3 if "killed" in end else 20
    own = program(sys.executable, "-c", code, background=True, timeout=timeout)
    terminal.session.programs.begin(own, on(terminal, own))
    outcome = shown(terminal)
    assert outcome.text.startswith(end)
    assert outcome.good is end.startswith("own: done")
    [found] = output(caplog)
    assert found["outcome"] in f"{end} exit status 0"
    assert len(found["output"]) <= OUTPUT_MAX_BYTES


def test_a_program_that_cannot_be_run_says_why(terminal, capfd):
    own = program("/no/such", background=True)
    terminal.session.programs.begin(own, on(terminal, own))
    assert shown(terminal).text == "own: cannot run /no/such: No such file or directory"
    assert not terminal.session.programs.run_here(own, on(terminal, own)).good
    assert "/no/such\n" in capfd.readouterr().out


def test_only_so_many_run_and_all_end_with_evtop(terminal, tmp_path):
    begun = tmp_path / "begun"
    begun.touch()
    own = program("sh", "-c", f"echo >> {begun}; exec sleep 99", background=True)
    programs, runs = Programs([own]), on(terminal, own)
    for _ in range(RUNNING_MAX):
        programs.begin(own, runs)
    with pytest.raises(UsageError, match=f"{RUNNING_MAX} programs run already"):
        programs.begin(own, runs)
    wait_until(lambda: len(begun.read_text()) == RUNNING_MAX, what="that all run")
    programs.close()
    ends = [wait_until(programs.take, what="an end").text for _ in range(RUNNING_MAX)]
    assert ends == ["own: ended with evtop"] * RUNNING_MAX


def test_after_an_interrupt_the_other_rows_are_left_alone(crowd, capfd):
    crowd.press("space", "space", "space")
    code = "import os, signal; signal.signal(2, signal.SIG_DFL); os.kill(os.getpid(), 2)"
    own = program(sys.executable, "-c", code, "{uuid}")
    outcome = crowd.session.programs.run_here(own, on(crowd, own))
    assert outcome == ("own: 0 of 3 done, 1 failed: ended by signal 2", False)
    assert capfd.readouterr().out.count("import os") == 1
    assert signal.getsignal(signal.SIGINT) is not signal.SIG_IGN


# --- on the screen --------------------------------------------------------------------


def screen_with(*own, **parts):
    programs = Programs(own)
    terminal = FakeTerminal(programs=programs, **parts)
    terminal.session.keymap = Keymap(None, bindings_of(own))

    @contextmanager
    def lent():
        terminal.host.calls.append("lent")
        yield
        terminal.host.calls.append("back")

    terminal.host.lent = lent
    terminal.take(terminal.life.received("aaaa1111", "proj.add"))
    return terminal


def test_it_has_a_key_a_line_in_the_menu_and_a_question(capfd):
    own = program("echo", "{uuid}", key="B", about="look it up", wait=False)
    terminal = screen_with(own)
    terminal.press("B")
    assert "run look it up?" in terminal.text
    assert "echo aaaa1111" in terminal.text
    terminal.press("enter")  # which is No
    assert terminal.host.calls == []
    terminal.press("a")
    assert "B  look it up  (echo)" in terminal.text
    terminal.press("B", "y")
    assert terminal.host.calls == ["lent", "back"]
    assert terminal.message == "own: done"
    assert capfd.readouterr().out == "echo aaaa1111\naaaa1111\n"
    terminal.press("?")
    terminal.write("look")
    assert "look it up (tasks, events)" in terminal.text
    terminal.press("esc", "2")
    terminal.command("run own")
    assert terminal.message == "own is not for types (it is for tasks, events)"
    terminal.command("run other")
    assert terminal.message == "there is no program other (there are own)"
    terminal.command("run")
    assert terminal.message.startswith("there are no programs for types (a [command.NAME]")


def test_in_read_only_mode_only_the_safe_ones_are_run(capfd):
    own = program("echo", "{uuid}", key="B", confirm=False)
    safe = program("echo", "safe", "{uuid}", name="safe", safe=True, confirm=False, key="D")
    terminal = screen_with(own, safe, read_only=True)
    terminal.press("B")
    assert terminal.message.startswith("own is not run in read-only mode (safe = true")
    terminal.press("a")
    assert "D  safe  (echo)" in terminal.text
    assert "own  (echo)" not in terminal.text
    terminal.press("esc", "D")
    assert terminal.host.calls == ["lent", "back"]
    assert "safe aaaa1111" in capfd.readouterr().out
    assert terminal.message == "safe: done"
    # A long command line is seen whole before it is run.
    long = program("echo", "x" * 100 + "end", name="long")
    terminal = screen_with(long)
    terminal.command("run long")
    assert "end" in terminal.text
