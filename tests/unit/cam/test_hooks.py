"""What is run or requested when an alert fires: what it is given, and what becomes of failures."""

import itertools
import json
import sys
import threading
import time
from collections import deque
from pathlib import Path
from types import SimpleNamespace

import pytest

from evtools import signals
from evtools.alerts import parse_rule
from evtools.cam import hooks
from evtools.cam.hooks import WAITING_MAX, Hook, Notice, senders_of
from evtools.clock import SystemClock
from evtools.errors import UsageError
from servers.process import wait_until
from tools.collector import Collector

NOTICE = Notice("own", "fired", b'{"text":"$(touch x) \\"; rm \'"}')


@pytest.fixture
def collector():
    with Collector() as made:
        yield made


@pytest.fixture
def hook(monkeypatch):
    """Make hooks of an alert; they are given up at the end."""
    made = []
    monkeypatch.setattr(hooks, "WAITS", (0.0, 0.0))

    def make(**table):
        rule = parse_rule("own", "f: alert.own", {"filter": "x", **table})
        [sender] = senders_of(rule, SystemClock())
        made.append(Hook(rule, sender))
        return made[-1]

    yield make
    for each in made:
        each.give_up()
        assert each.join(20.0)


def program(folder, text):
    path = folder / "hook.py"
    path.write_text(text)
    return [sys.executable, str(path)]


def deliver(one, *notices):
    for notice in notices:
        one.put(notice)
    wait_until(lambda: one.waiting == 0, deadline=50, what="it")  # Python starts up to five times
    return one


def test_a_program_has_the_notice_on_stdin_and_nothing_of_it_elsewhere(hook, tmp_path, monkeypatch):
    monkeypatch.setenv("NOTIFY_SOCKET", "/run/systemd/notify")
    monkeypatch.setenv("OWN", "mine")
    code = (
        "import json, os, sys\n"
        f"json.dump([sys.argv[1:], dict(os.environ), sys.stdin.read()], open({str(tmp_path)!r}"
        " + '/out', 'w'))\nprint('x' * 1000000)\n"
    )
    one = deliver(hook(run=[*program(tmp_path, code), "a $(touch x)"]), NOTICE)
    words, environment, stdin = json.loads((tmp_path / "out").read_text())
    assert words == ["a $(touch x)"]
    assert stdin == NOTICE.body.decode() + "\n"
    added = {name: value for name, value in environment.items() if name.startswith("EVTOOLS_A")}
    assert added == {"EVTOOLS_ALERT": "own"}
    assert (environment["EVTOOLS_STATE"], environment["OWN"]) == ("fired", "mine")
    assert "NOTIFY_SOCKET" not in environment
    assert not any("touch" in value for value in environment.values())
    assert (one.delivered, one.failed, one.retried, one.waiting) == (1, 0, 0, 0)


def test_what_fails_is_tried_again_some_times_and_said_without_control_characters(
    hook, tmp_path, log
):
    code = (
        f"import sys\nfile = open({str(tmp_path)!r} + '/tries', 'a+')\nfile.write('x')\n"
        "file.seek(0)\nprint('no \\x1b[2J')\nsys.exit(0 if len(file.read()) in (2, 9) else 3)\n"
    )
    one = hook(run=program(tmp_path, code))
    deliver(one, NOTICE, NOTICE)
    assert (one.delivered, one.failed, one.retried) == (1, 1, 3)
    assert one.as_dict()["last_error"] == "exit status 3: no \\x1b[2J"
    lines = [line.partition("hook.py: ")[2] for line in log()]
    assert lines[0] == "fired: exit status 3: no \\x1b[2J; trying again"
    assert "works again, after 1 failures" in lines


def test_a_notice_that_is_taken_on_waits_until_it_is_delivered(hook):
    waiting = []

    class Watched(deque):
        def popleft(self):
            notice = super().popleft()
            waiting.append(one.waiting)
            return notice

    one = hook(run="true")
    one._waiting = Watched()
    assert deliver(one, NOTICE).delivered == 1
    assert waiting == [1]


def test_what_cannot_be_run_is_not_tried_again(hook, log):
    one = deliver(hook(run="/nowhere/at-all"), NOTICE)
    assert (one.failed, one.retried) == (1, 0)
    assert log() == [
        "alert own: /nowhere/at-all: fired: not delivered: cannot run it: No such file or directory"
    ]
    with pytest.raises(UsageError, match="cannot run /nowhere/at-all: there is no such program"):
        one.sender.check()


def test_one_that_hangs_is_killed_with_all_that_it_started(hook, tmp_path, monkeypatch):
    monkeypatch.setattr(signals, "_GRACE", 0.2)
    monkeypatch.setattr(hooks, "WAITS", ())
    code = (
        "import os, signal, subprocess, sys, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import signal, time;"
        " signal.signal(15, signal.SIG_IGN); time.sleep(600)'])\n"
        f"open({str(tmp_path)!r} + '/pids', 'a').write(f'{{os.getpid()}} {{child.pid}} ')\n"
        "time.sleep(600)\n"
    )
    one = hook(run=program(tmp_path, code))
    pids = tmp_path / "pids"

    def has_begun():
        return pids.exists() and pids.read_text().endswith(" ")

    one.put(NOTICE)
    one.put(NOTICE)
    wait_until(has_begun, deadline=30, what="it")
    one.give_up()  # evcam ends
    assert one.join(20.0)
    wait_until(lambda: all(map(_is_gone, pids.read_text().split())), what="it")
    assert (one.dropped, one.delivered, one.waiting) == (2, 0, 0)
    pids.unlink()
    # Its time passes once both are there.
    passed = itertools.count(0.0, 1000.0)
    clock = SimpleNamespace(
        sleep=time.sleep, monotonic=lambda: next(passed) if has_begun() else 0.0
    )
    monkeypatch.setattr(signals, "time", clock)
    timed = deliver(hook(run=program(tmp_path, code), timeout="500ms"), NOTICE)
    wait_until(lambda: all(map(_is_gone, pids.read_text().split())), what="it")
    assert timed.last_error == "killed, as it took 500ms"


def _is_gone(pid):
    try:
        status = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return True
    return status == "Z"  # nobody has read how it ended


def test_while_one_hangs_notices_wait_and_the_oldest_are_dropped(hook, log):
    go, came, sent = threading.Event(), threading.Event(), []

    class Slow:
        shown = "slow"

        def send(self, notice, given_up):
            came.set()
            go.wait(20.0)
            sent.append(notice.body)

    one = hook(run="x")
    one.sender = Slow()
    one.put(NOTICE)
    assert came.wait(20.0)
    notices = [Notice("own", "fired", str(n).encode()) for n in range(WAITING_MAX + 3)]
    for notice in notices:
        one.put(notice)
    assert (one.waiting, one.dropped) == (WAITING_MAX + 1, 3)
    assert not one.wait_for_room(0.0)
    go.set()
    one.end()
    assert one.join(20.0)
    assert sent == [NOTICE.body, *(each.body for each in notices[3:])]
    assert [line.rpartition(": ")[2] for line in log()] == ["1 dropped so far", "2 dropped so far"]


def test_a_webhook_gets_the_notice_with_user_and_headers_and_files_are_read_each_time(
    hook, collector, tmp_path
):
    url, headers = tmp_path / "url", tmp_path / "headers"
    url.write_text(f"http://us%65r:p%40ss@127.0.0.1:{collector.port}/T0K3N/?a=b\n")
    headers.write_text("X-Own=a%20b\n")
    one = hook(webhook=f"@{url}", headers=f"@{headers}")
    one.put(NOTICE)
    wait_until(lambda: one.delivered == 1, what="it")
    headers.write_text("X-Own=c\n")
    deliver(one, NOTICE)
    first, second = collector.requests
    assert (first.path, first.body) == ("/T0K3N/?a=b", NOTICE.body)
    assert first.headers["content-type"] == "application/json"
    assert first.headers["authorization"] == "Basic dXNlcjpwQHNz"
    assert (first.headers["x-own"], second.headers["x-own"]) == ("a b", "c")


@pytest.mark.parametrize(
    ("answers", "counts", "words"),
    [
        ([500, 429, 200], (1, 0, 2), ""),
        ([408, (503, {"Retry-After": "0"}, b"busy"), None], (0, 1, 2), "it ended the connection"),
        ([400], (0, 1, 0), "it answers 400 Bad Request"),
        ([(404, {}, b"\x1b[2Jno")], (0, 1, 0), "it answers 404 Not Found: \\x1b[2Jno"),
        (
            [(302, {"Location": "http://127.0.0.1:1/"}, b"")],
            (0, 1, 0),
            "redirects are not followed",
        ),
    ],
)
def test_what_a_server_answers_decides_what_is_tried_again(
    hook, collector, log, answers, counts, words
):
    collector.answers = list(answers)
    one = deliver(hook(webhook=f"{collector.url}/T0K3N"), NOTICE)
    assert (one.delivered, one.failed, one.retried) == counts
    assert len(collector.requests) == sum(counts)
    assert words in one.last_error
    assert not any("T0K3N" in line for line in (*log(), str(one.as_dict())))


def test_it_waits_as_long_as_a_server_asks_for_or_until_the_end(hook, collector):
    collector.answers = [(429, {"Retry-After": "3600"}, b"")]
    one = hook(webhook=collector.url)
    one.put(NOTICE)
    wait_until(lambda: one.retried == 1, what="it")
    assert one.delivered == 0
    one.end()  # there is one try left
    assert one.join(20.0)
    assert one.delivered == 1


def test_a_certificate_of_a_stranger_is_refused(hook, authority):
    with Collector(authority.stranger) as stranger:
        one = deliver(hook(webhook=stranger.url), NOTICE)
        assert not stranger.requests
    assert "its certificate" in one.last_error


@pytest.mark.parametrize("text", ["", "ftp://h", "http://h/\nhttp://i"])
def test_a_file_without_a_url_is_said_without_what_is_in_it(hook, tmp_path, text):
    file = tmp_path / "url"
    file.write_text(text)
    one = hook(webhook=f"@{file}")
    with pytest.raises(UsageError, match=f"webhook: in {file} is no URL of HTTP"):
        one.sender.check()
    file.unlink()
    deliver(one, NOTICE)
    assert one.last_error == f"webhook: cannot read {file}: No such file or directory"
