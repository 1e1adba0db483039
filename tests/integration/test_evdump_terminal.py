"""evdump on a terminal: what people see, and what must never reach their terminal."""

from __future__ import annotations

import re
import signal
import time

import pytest

from cluster.app import HOSTILE
from cluster.script import run_everything

#: Our own colours; nothing else that begins with ESC is ever written.
SGR = re.compile(rb"\x1b\[[0-9;]*m")
ON_REDIS = pytest.mark.parametrize("broker", ["redis"], indirect=True)

#: Everything a terminal acts on or an eye is fooled by, and markup of rich and urwid.
WEAPONS = (
    "\x1b[2J\x1b[H\x1b[31m",  # CSI
    "\x1b]0;owned\x07\x1b]52;c;aGk=\x1b\\",  # OSC: title, clipboard
    "\x9b2J\x9d0;owned\x9c\x90q\x9c",  # the same in C1
    "\r\n\t\x08\x7f\x00\x0b\x0c\x85\u2028\u2029",
    "\u202egnp.exe\u202c\u2066x\u2069\u200f\u061c",
    "[bold red]x[/] [link=http://x]y[/link] [/]",
    "\u200b\ufeff\u00ad\U000e0041",
)


def is_harmless(data: bytes) -> bool:
    """Say whether a terminal prints all of it and does nothing else."""
    text = SGR.sub(b"", data).decode()
    return all(c.isprintable() or c in "\r\n" for c in text)


@pytest.fixture
def shop(sender, redis_url):
    return sender(redis_url)


@pytest.fixture
def shown(evdump, redis_url):
    """Start evdump on a terminal, connected."""

    def start(*arguments, size=(80, 24), **how):
        dump = evdump("-b", redis_url, *arguments, terminal=size, **how)
        dump.wait_ready()
        return dump

    return start


def test_the_summary_after_a_ctrl_c_has_a_line_of_its_own(evdump):
    dump = evdump("--demo", terminal=(80, 24), stderr_on_terminal=True)
    dump.wait_stdout("SENT")
    dump.type("\x03")
    assert dump.wait() == 0
    summary, states = dump.stdout.splitlines()[-2:]
    assert re.fullmatch(r"evdump: \d+ captured, .*", summary)
    assert states.startswith("evdump: sent ")


@pytest.mark.timeout(120)
@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
@ON_REDIS
def test_a_hostile_task_is_shown_escaped(evdump, celery_worker, size):
    url, exchange = celery_worker.broker_url, celery_worker.event_exchange
    where = ("-b", url, "--event-exchange", exchange, "--no-heartbeats")
    dump = evdump(*where, "--color", "never", "-vv", terminal=size)
    dump.wait_ready()
    send = celery_worker.app.send_task
    failed = send("cluster.fail", args=(HOSTILE,), shadow=HOSTILE).id
    dump.wait_stdout("FAIL")
    dump.wait_stdout("Traceback")
    screen = dump.wait_screen("HostileError")
    # A screen breaks long lines where it likes.
    joined = screen.replace("\n", "")
    assert r"two\nlines\ttab \x1b[31mred\x1b[0m \x1b]0;title\x07" in dump.stdout
    for text in (r"\x1b[31mred", r"\u202eright-to-left", r"\x9b2J", "[bold]markup"):
        assert text in joined
    assert "日本語 \U0001f980" in dump.stdout
    assert f"[{failed[:8]}]" in dump.stdout
    assert b"\x1b" not in dump.stdout_stream.data
    assert is_harmless(dump.stdout_stream.data)
    assert dump.stop() == 0


@pytest.mark.parametrize("output", ["text", "json", "pretty", "logfmt", "csv", "raw"])
def test_no_weapon_reaches_a_terminal_in_any_format(evdump, redis_url, sender, output):
    where = ("-b", redis_url, "-o", output, "-vv", "--color", "never")
    dump = evdump(*where, terminal=(80, 24), stderr_on_terminal=True)
    dump.wait_stdout("listening")
    everything = "|".join(WEAPONS)
    shop = sender(redis_url)
    fields = dict.fromkeys(("name", "args", "exception", "traceback"), everything)
    shop.send("task-failed", uuid="u1", **fields)
    shop.send(everything, hostname=everything, uuid=everything)
    shop.send("a-b", **{everything: [everything, {everything: everything}]})
    shop.send_body('{"type": "' + "\x1b[31m" + '"}')
    shop.send_body("\x1b[31m no json \x9b")
    shop.send("the-end")
    dump.wait_stdout("the-end")
    assert dump.stop() == 0
    assert b"\x1b" not in dump.stdout_stream.data
    assert is_harmless(dump.stdout_stream.data)


def test_a_template_cannot_be_used_as_a_weapon_either(shown, shop):
    dump = shown("--template", "{type} {name} {args}", "--color", "always")
    for weapon in WEAPONS:
        shop.send("task-received", uuid="u1", name=weapon, args=weapon)
    shop.send("the-end")
    dump.wait_stdout("the-end")
    assert b"\x1b" not in dump.stdout_stream.data
    assert is_harmless(dump.stdout_stream.data)


def test_hostile_words_keep_our_own_colours_apart(shown, shop):
    dump = shown("-vv", "-H", "right")
    calm = [*_paints(dump, shop, "calm words, right")]
    hostile = [*_paints(dump, shop, HOSTILE)]
    assert calm == hostile
    assert len(set(calm)) > 3
    assert is_harmless(dump.stdout_stream.data)


def _paints(dump, shop, text):
    """Return the colours that one failed task is painted with."""
    before = len(dump.stdout_stream.data)
    shop.send("task-failed", uuid="u1", name="n", exception=text, traceback="T")
    shop.send("the-end", number=before)
    dump.wait_stdout(f"number=\x1b[0m{before}")
    dump.stdout_stream.wait(lambda text: text.endswith("\n"), 10, lambda: "the end of the line")
    return SGR.findall(dump.stdout_stream.data[before:].partition(b"the-end")[0])


# --- what people see ------------------------------------------------------------


@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
def test_a_late_event_is_shown_with_the_name_and_arguments_of_its_task(shown, shop, size):
    dump = shown(size=size)
    shop.send("task-received", uuid="u1", name="proj.add", args="(2, 3)", kwargs="{}")
    shop.send("task-started", uuid="u1", hostname="w1@web")
    shop.send("task-succeeded", uuid="u1", hostname="w1@web", result="5", runtime=0.2)
    screen = dump.wait_screen("200ms  5")
    started, ended = screen.splitlines()[-2:]
    assert "START" in started
    assert started.endswith("proj.add[u1] (2, 3)")
    assert "OK" in ended
    assert ended.endswith("proj.add[u1] (2, 3) 200ms  5")


def test_a_failure_shows_its_exception_and_with_more_words_its_traceback(shown, shop):
    failed = {"uuid": "u1", "name": "n", "exception": "ValueError('bad\nthing')"}
    failed["traceback"] = 'Traceback:\n  File "a.py"\nValueError: bad\n'
    brief, verbose, most = shown(), shown("-v"), shown("-vv")
    shop.send("task-received", uuid="u1", name="n", args="(1,)", root_id="r1")
    shop.send("task-failed", **failed)
    shop.send("the-end")
    for dump in (brief, verbose, most):
        screen = dump.wait_screen("the-end")
        assert r"ValueError('bad\nthing')" in screen
        assert ("root_id=r1" in screen) == (dump is not brief)
        assert ("Traceback" in screen) == (dump is most)
    # It is indented below its event.
    assert '\n    Traceback:\n      File "a.py"\n    ValueError: bad' in screen


def test_heartbeats_are_dim_or_left_out(shown, shop):
    dump, without = shown(), shown("--no-heartbeats")
    shop.send("worker-heartbeat", active=3, processed=5, loadavg=[0.5, 1, 2])
    shop.send("the-end")
    dump.wait_screen("the-end")
    without.wait_screen("the-end")
    assert "beat" not in without.screen()
    assert "active=3 processed=5 load=0.5" in dump.screen()
    assert "\x1b[2mbeat" in dump.stdout


def test_quiet_is_type_and_name_and_nothing_on_stderr(evdump, redis_url, shop):
    dump = evdump("-b", redis_url, "-q", terminal=(80, 24))
    seen = []
    while "task-received" not in dump.stdout:
        assert len(seen) < 1000
        seen.append(shop.send("task-received", uuid="u1", name="proj.add", args="(1)"))
        _tick()
    assert dump.stop() == 0
    assert set(dump.screen().splitlines()) == {"task-received proj.add"}
    assert dump.stderr == ""


def _tick():
    """Let some of the time pass in which a subscription is made."""
    time.sleep(0.02)


def test_a_long_stream_is_one_line_for_each_event_in_a_pipe(evdump, redis_url, shop):
    dump = evdump("-b", redis_url, "-o", "text", "-vv")
    dump.wait_ready()
    for weapon in WEAPONS:
        shop.send("task-failed", uuid="u1", exception=weapon, traceback=f"a\nb{weapon}")
    lines = dump.lines(len(WEAPONS))
    assert len(lines) == len(WEAPONS)
    assert all("FAIL" in line and "traceback=" in line for line in lines)


# --- colours ----------------------------------------------------------------------

COLOURS = [
    ((), {}, True),
    (("--color", "never"), {}, False),
    (("--color", "never"), {"FORCE_COLOR": "1"}, False),
    (("--color", "always"), {"NO_COLOR": "1"}, True),
    (("--color", "always"), {"TERM": "dumb"}, True),
    ((), {"NO_COLOR": "1"}, False),
    ((), {"NO_COLOR": ""}, True),
    ((), {"EVTOOLS_NO_COLOR": "1"}, False),
    ((), {"NO_COLOR": "1", "FORCE_COLOR": "1"}, False),
    ((), {"TERM": "dumb"}, False),
    ((), {"TERM": "dumb", "FORCE_COLOR": "1"}, True),
    ((), {"FORCE_COLOR": "0"}, True),
    ((), {"EVTOOLS_COLOR": "never"}, False),
]


@pytest.fixture
def tape(tmp_path):
    """A recording, as another program would write it."""
    path = tmp_path / "tape.jsonl"
    path.write_text('{"type": "task-failed", "uuid": "u1", "exception": "X"}\n')
    return path


#: The same in a pipe.
PIPED_COLOURS = [
    ((), {}, False),
    (("--color", "always"), {}, True),
    ((), {"FORCE_COLOR": "1"}, True),
    ((), {"CLICOLOR_FORCE": "1"}, True),
    ((), {"CLICOLOR_FORCE": "0", "FORCE_COLOR": "0"}, False),
    ((), {"FORCE_COLOR": "1", "NO_COLOR": "1"}, False),
]


def has_colours(dumps):
    """Wait for the end of all; return for each whether it wrote colours."""
    assert [dump.wait() for dump in dumps] == [0] * len(dumps)
    return ["\x1b[" in dump.stdout for dump in dumps]


def test_a_terminal_gets_colours_unless_told_otherwise(evdump, tape):
    dumps = [
        evdump("-r", tape, *arguments, terminal=(80, 24), env=environment)
        for arguments, environment, _ in COLOURS
    ]
    assert has_colours(dumps) == [coloured for *_, coloured in COLOURS]


def test_a_pipe_gets_colours_only_when_told(evdump, tape):
    dumps = [
        evdump("-r", tape, "-o", "text", *arguments, env=environment)
        for arguments, environment, _ in PIPED_COLOURS
    ]
    assert has_colours(dumps) == [coloured for *_, coloured in PIPED_COLOURS]


def test_colours_are_for_text_alone(evdump, tape):
    outputs = ("json", "logfmt", "csv", "raw")
    always = ("-r", tape, "--color", "always")
    dumps = [evdump(*always, "-o", output) for output in outputs]
    assert has_colours(dumps) == [False] * len(outputs)


# --- the bar ----------------------------------------------------------------------


@pytest.fixture
def long_tape(tmp_path):
    """A recording of four seconds."""
    path = tmp_path / "long.jsonl"
    line = '{"type": "task-sent", "uuid": "u%d", "local_received": %d}\n'
    path.write_text("".join(line % (i, 1000 + i) for i in range(4)))
    return path


def test_a_bar_shows_how_far_the_reading_is_and_leaves_no_trace(evdump, long_tape, tmp_path):
    dump = evdump(
        *("-r", long_tape, "-w", tmp_path / "out.jsonl", "--speed", "0.01x"),
        terminal=(80, 24),
        stderr_on_terminal=True,
    )
    dump.wait_screen("reading")
    assert dump.stop(signal.SIGTERM) == 0
    summary, states = dump.screen().splitlines()
    assert summary.startswith("evdump: 1 captured, 1 matched")
    assert states == "evdump: sent 1"


def test_there_is_no_bar_where_nobody_looks(evdump, long_tape):
    speed = ("-r", long_tape, "--speed", "2x")
    piped = evdump(*speed)
    printing = evdump(*speed, terminal=(80, 24), stderr_on_terminal=True)
    for dump in (piped, printing):
        assert dump.wait() == 0
        assert "reading" not in dump.stdout + dump.stderr
    assert len(printing.screen().splitlines()) == 6


@pytest.mark.timeout(120)
@ON_REDIS
def test_the_whole_script_fits_a_terminal(evdump, celery_worker, celery_capture):
    url, exchange = celery_worker.broker_url, celery_worker.event_exchange
    capture = celery_capture(url, exchange)
    dump = evdump(
        *("-b", url, "--event-exchange", exchange, "-vv"),
        terminal=(120, 40),
        stderr_on_terminal=True,
    )
    dump.wait_stdout("listening")
    run_everything(celery_worker.app, capture)
    dump.wait_stdout("a-b-c-d")
    assert dump.stop() == 0
    assert is_harmless(dump.stdout_stream.data)
    for word in ("SENT", "RECV", "START", "OK", "FAIL", "RETRY", "REVOKE", "REJECT"):
        assert word in dump.stdout
    # The hard time limit: the real exception, not Celery's wrapper.
    assert "TimeLimitExceeded" in dump.stdout
