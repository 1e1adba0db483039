"""The background and the supervisor, with real processes and real sockets.

A starter is this process; what it starts is Python with a few lines.
"""

import os
import signal
import subprocess
import sys
import textwrap
import threading

import pytest

from evtools.cam.daemon import Detached, Notifier, own_program, start
from evtools.errors import EvtoolsError
from tools.clock import FakeClock
from tools.systemd import NotifySocket

BEGIN = """
    import os, signal, sys
    from evtools.cam.daemon import Detached
    detached = Detached.inherited()
    """


@pytest.fixture
def report(tmp_path, monkeypatch):
    """A pipe for the other process: $REPORT."""
    path = tmp_path / "report"
    os.mkfifo(path)
    monkeypatch.setenv("REPORT", str(path))
    return path


@pytest.fixture
def run(monkeypatch):
    """Start Python with some code, as this program would be."""

    def begin(code, **how):
        words = ["-c", textwrap.dedent(f"{BEGIN}{code}")]
        monkeypatch.setattr(sys, "orig_argv", ["python", *words])
        return start(sys.executable, **how)

    return begin


def run_starter(before, code):
    """Start a starter of such a program, after doing something else."""
    words = [sys.executable, "-c", textwrap.dedent(f"{BEGIN}{code}")]
    starter = f"""
    import signal, sys
    from evtools.cam.daemon import start
    {before}
    sys.orig_argv = {words!r}
    sys.exit(start(sys.executable))
    """
    command = [sys.executable, "-c", textwrap.dedent(starter)]
    return subprocess.run(command, capture_output=True, timeout=30, check=True)


def test_a_daemon_has_no_terminal_and_only_what_it_needs_and_its_starter_returns(run, report):
    # Where the kernel cannot close a range, Python tries each of its numbers.
    code = """
    closed, real = [], os.close
    def close(descriptor):
        closed.append(descriptor)
        real(descriptor)
    os.close = close
    os.closerange = lambda low, high: closed.extend(range(low, high))
    os.dup2(0, 900)
    detached.settle()
    facts = [os.getsid(0) == os.getpid(), len(closed) < 20, os.path.exists("/proc/self/fd/900")]
    facts += [name for name in os.environ if "EVCAM" in name or "PYINST" in name]
    detached.ready()
    detached.ready()
    print("nobody reads this", file=sys.stderr)
    with open(os.environ["REPORT"], "w") as report:
        print(*facts, sys.stdin.read() == "", file=report)
    """
    assert run(code) == 0
    assert report.read_text() == "True True False True\n"


def test_a_daemon_heeds_signals_that_its_starter_ignores(report):
    code = """
    detached.settle()
    names = [n.name for n in signal.Signals if signal.getsignal(n) == signal.SIG_IGN]
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    detached.ready()
    with open(os.environ["REPORT"], "w") as report:
        print(*names, *blocked, file=report)
    """
    before = """
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGUSR2,))
    """
    run_starter(before, code)
    ignored = {*report.read_text().split()}
    assert ignored == {"SIGPIPE", "SIGXFSZ", "SIGTSTP", "SIGTTIN", "SIGTTOU"}


def test_a_starter_does_not_end_before_the_streams_are_taken(run):
    code = """
    detached.settle()
    detached.ready(lambda: sys.exit(3))
    """
    assert run(code) == 3


def test_who_reads_our_output_waits_for_us_alone(report):
    """As the boot loader does: it keeps what it was started with until the end."""
    code = """
    if os.fork() == 0:
        open(os.environ["REPORT"]).read()
        os._exit(0)
    detached.settle()
    print("evcam: be careful", file=sys.stderr)
    detached.ready()
    """
    assert run_starter("", code).stderr == b"evcam: be careful\n"
    report.write_text("the end")


@pytest.mark.parametrize(
    ("end", "words"),
    [
        ("os.kill(os.getpid(), signal.SIGKILL)", "was ended by SIGKILL"),
        ("sys.exit(sys.stdin.read() != 'redis://h')", "has ended before it was ready"),
    ],
)
def test_an_end_that_is_no_failure_is_one_all_the_same(run, end, words):
    with pytest.raises(EvtoolsError, match=words):
        run(f"{end}\n", typed="redis://h")


def test_a_starter_that_has_died_does_not_matter(monkeypatch):
    read, write = os.pipe()
    os.close(read)
    monkeypatch.setenv("_EVCAM_READY", str(write))
    kept = os.dup(2)
    try:
        Detached.inherited().ready()
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def test_ctrl_c_ends_the_other_process_too(run, report):
    code = """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(3))
    with open(os.environ["REPORT"], "w") as report:
        print("begun", file=report)
    signal.pause()
    """

    def interrupt():
        report.read_text()
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)

    interrupter = threading.Thread(target=interrupt)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        interrupter.start()
        with pytest.raises(KeyboardInterrupt):
            run(code)
        interrupter.join()
    finally:
        signal.signal(signal.SIGINT, before)


def test_ctrl_c_while_the_other_process_is_being_started_ends_it_too(run, monkeypatch):
    started = []

    class Interrupted(subprocess.Popen):
        def __init__(self, *args, **how):
            super().__init__(*args, **how)
            started.append(self.pid)
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(subprocess, "Popen", Interrupted)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            run("import time\ntime.sleep(60)\n")
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)
    [pid] = started
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


@pytest.mark.parametrize("value", ["", "x", "-1", "987654"])
def test_nobody_is_detached_by_chance(monkeypatch, value):
    monkeypatch.setenv("_EVCAM_READY", value)
    assert Detached.inherited() is None
    assert "_EVCAM_READY" not in os.environ


def test_the_same_words_are_started_and_a_binary_keeps_its_name(monkeypatch):
    words = ["-m", "evtools", "cam", "-d"]
    monkeypatch.setattr(sys, "orig_argv", ["python3", *words])
    assert own_program("") == (sys.executable, [sys.executable, *words])
    assert own_program("/opt/python") == ("/opt/python", ["/opt/python", *words])
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    monkeypatch.setattr(sys, "executable", "/opt/evtools/evtools")
    monkeypatch.setattr(sys, "argv", ["evcam", "-d"])
    assert own_program("") == ("/opt/evtools/evtools", ["evcam", "-d"])
    assert own_program("/new/evtools")[0] == "/new/evtools"


# === systemd =========================================================================


@pytest.fixture(params=["path", "abstract"])
def systemd(request, tmp_path, monkeypatch):
    address = str(tmp_path / "notify")
    if request.param == "abstract":
        address = f"@evcam-test-{os.getpid()}"
    monkeypatch.setenv("WATCHDOG_USEC", "10000000")
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    with NotifySocket(address) as listening:
        yield listening


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def notifier(systemd, clock):
    made = Notifier(clock)
    assert os.environ.keys().isdisjoint({"WATCHDOG_USEC", "NOTIFY_SOCKET"})
    yield made
    made.close()


def test_systemd_learns_which_process_it_is_how_it_goes_and_when_it_reloads(
    notifier, systemd, clock
):
    notifier.ready("connected")
    assert systemd.read() == ["READY=1", f"MAINPID={os.getpid()}", "STATUS=connected"]
    notifier.ready()
    assert systemd.read() == ["READY=1", f"MAINPID={os.getpid()}"]
    # A status is one line and sent once.
    notifier.status("3 workers\nREADY=1")
    assert systemd.read() == ["STATUS=3 workers READY=1"]
    notifier.status("3 workers\nREADY=1")
    # The time is in the same datagram.
    clock.now = 12.5
    notifier.reloading()
    assert systemd.read() == ["RELOADING=1", "MONOTONIC_USEC=12500000"]
    assert systemd.is_silent


def test_signs_of_life_come_at_half_the_time_that_systemd_wants(notifier, systemd, clock):
    notifier.watchdog()
    assert systemd.read() == ["WATCHDOG=1"]
    clock.now += 4.9
    notifier.watchdog()
    clock.now += 0.1
    notifier.watchdog()
    assert systemd.read() == ["WATCHDOG=1"]
    assert systemd.is_silent


@pytest.mark.parametrize(
    ("name", "value", "beats"),
    [
        ("WATCHDOG_PID", "ours", True),
        ("WATCHDOG_PID", "our parent's", True),
        ("WATCHDOG_PID", "1000000000", False),
        ("WATCHDOG_USEC", "soon", False),
        ("WATCHDOG_USEC", "9" * 5000, False),
        ("WATCHDOG_USEC", "0", False),
    ],
)
def test_the_watchdog_must_be_for_us(systemd, monkeypatch, name, value, beats):
    numbers = {"ours": os.getpid(), "our parent's": os.getppid()}
    monkeypatch.setenv(name, str(numbers.get(value, value)))
    notifier = Notifier()
    notifier.watchdog()
    assert systemd.is_silent is not beats
    notifier.close()


@pytest.mark.parametrize("address", ["", "vsock:2:1", "relative", "/nobody/is/here"])
def test_where_nobody_listens_nothing_happens(monkeypatch, address):
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    notifier = Notifier()
    notifier.ready("x")
    notifier.watchdog()
    notifier.close()
