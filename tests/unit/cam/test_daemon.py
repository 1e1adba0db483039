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

from evtools.cam.daemon import Detached, Notifier, Program, own_program, start
from evtools.errors import EvtoolsError, UsageError
from tools.clock import FakeClock
from tools.systemd import NotifySocket


def program(code):
    return Program(sys.executable, [sys.executable, "-c", textwrap.dedent(code)])


BEGIN = """
    import os, signal, sys
    from evtools.cam.daemon import Detached
    detached = Detached.inherited(os.environ)
    """


@pytest.fixture
def environ(tmp_path):
    return {**os.environ, "TOLD": str(tmp_path / "told")}


def test_the_starter_returns_when_the_other_process_is_ready(environ, tmp_path):
    os.mkfifo(tmp_path / "told")
    code = f"""{BEGIN}
    os.chdir("/")
    os.umask(0o027)
    detached.settle()
    facts = [os.getsid(0) == os.getpid(), os.getcwd(), oct(os.umask(0))]
    facts += [name for name in os.environ if "EVCAM" in name or "PYINST" in name]
    detached.ready()
    detached.ready()
    print("nobody hears this", file=sys.stderr)
    with open(os.environ["TOLD"], "w") as told:
        print(*facts, sys.stdin.read() == "", file=told)
    """
    assert start(program(code), environ) == 0
    assert (tmp_path / "told").read_text() == "True / 0o27 True\n"


def test_a_daemon_heeds_signals_that_its_starter_ignores(environ, tmp_path):
    os.mkfifo(tmp_path / "told")
    code = f"""{BEGIN}
    detached.settle()
    names = [n.name for n in signal.Signals if signal.getsignal(n) == signal.SIG_IGN]
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    detached.ready()
    with open(os.environ["TOLD"], "w") as told:
        print(*names, *blocked, file=told)
    """
    starter = f"""
    import os, signal, sys
    from evtools.cam.daemon import Program, start
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGUSR2,))
    sys.exit(start(Program(sys.executable, {program(code).words!r}), os.environ))
    """
    subprocess.run(program(starter).words, env=environ, timeout=30, check=True)
    told = {*(tmp_path / "told").read_text().split()}
    assert told == {"SIGPIPE", "SIGXFSZ", "SIGTSTP", "SIGTTIN", "SIGTTOU"}


def test_what_is_closed_is_what_is_open_however_much_could_be(environ, tmp_path):
    os.mkfifo(tmp_path / "told")
    # Where the kernel cannot close a range, Python tries each of its numbers.
    code = f"""{BEGIN}
    closed, real = [], os.close
    def close(descriptor):
        closed.append(descriptor)
        real(descriptor)
    os.close = close
    os.closerange = lambda low, high: closed.extend(range(low, high))
    os.dup2(0, 900)
    detached.settle()
    is_open = os.path.exists("/proc/self/fd/900")
    detached.ready()
    with open(os.environ["TOLD"], "w") as told:
        print(len(closed) < 20, is_open, file=told)
    """
    assert start(program(code), environ) == 0
    assert (tmp_path / "told").read_text() == "True False\n"


def test_what_was_typed_reaches_the_other_process(environ, capfd):
    code = f"""{BEGIN}
    sys.exit(7 if sys.stdin.read() == "redis://h" else 8)
    """
    assert start(program(code), environ, typed="redis://h") == 7


def test_a_failure_is_seen_and_its_status_returned(environ, capfd):
    code = f"""{BEGIN}
    detached.settle()
    print("evcam: no such thing", file=sys.stderr)
    sys.exit(73)
    """
    assert start(program(code), environ, typed="x" * 10) == 73
    assert capfd.readouterr().err == "evcam: no such thing\n"


def test_who_reads_our_output_waits_for_us_alone(environ, tmp_path):
    """As the boot loader does: it keeps what it was started with until the end."""
    os.mkfifo(tmp_path / "told")
    code = f"""{BEGIN}
    if os.fork() == 0:
        open(os.environ["TOLD"]).read()
        os._exit(0)
    detached.settle()
    print("evcam: be careful", file=sys.stderr)
    detached.ready()
    """
    starter = f"""
    import os, sys
    from evtools.cam.daemon import Program, start
    sys.exit(start(Program(sys.executable, {program(code).words!r}), os.environ))
    """
    ended = subprocess.run(
        program(starter).words, env=environ, capture_output=True, timeout=30, check=True
    )
    assert ended.stderr == b"evcam: be careful\n"
    (tmp_path / "told").write_text("the end")


@pytest.mark.parametrize(
    ("end", "words"),
    [
        ("os.kill(os.getpid(), signal.SIGKILL)", "was ended by SIGKILL"),
        ("sys.exit(0)", "has ended before it was ready"),
    ],
)
def test_an_end_that_is_no_failure_is_one_all_the_same(environ, end, words):
    with pytest.raises(EvtoolsError, match=words):
        start(program(f"{BEGIN}\n    {end}\n    "), environ)


def test_a_starter_that_has_died_does_not_matter(environ):
    told, tell = os.pipe()
    os.close(told)
    code = f"""{BEGIN}
    detached.ready()
    print("alive")
    """
    ended = subprocess.run(
        program(code).words,
        env=environ | {"_EVCAM_READY": str(tell)},
        pass_fds=[tell],
        stdout=subprocess.PIPE,
        check=True,
    )
    os.close(tell)
    assert ended.stdout == b"alive\n"


def test_ctrl_c_ends_the_other_process_too(environ, tmp_path):
    os.mkfifo(tmp_path / "told")
    code = f"""{BEGIN}
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(3))
    with open(os.environ["TOLD"], "w") as told:
        print("begun", file=told)
    signal.pause()
    """

    def interrupt():
        (tmp_path / "told").read_text()
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)

    interrupter = threading.Thread(target=interrupt)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        interrupter.start()
        with pytest.raises(KeyboardInterrupt):
            start(program(code), environ)
        interrupter.join()
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_program_that_is_not_there_is_a_wrong_option(environ):
    with pytest.raises(UsageError, match="cannot start no-such-python: No such"):
        start(Program("no-such-python", ["no-such-python"]), environ)


@pytest.mark.parametrize("value", [None, "", "x", "-1", "987654"])
def test_nobody_is_detached_by_chance(value):
    environ = {} if value is None else {"_EVCAM_READY": value}
    assert Detached.inherited(environ) is None
    assert environ == {}


def test_python_is_started_with_the_same_words(monkeypatch):
    monkeypatch.setattr(sys, "orig_argv", ["python3", "-m", "evtools", "cam", "-d"])
    words = ["-m", "evtools", "cam", "-d"]
    assert own_program("") == (sys.executable, [sys.executable, *words])
    assert own_program("/opt/python") == ("/opt/python", ["/opt/python", *words])


def test_a_binary_keeps_its_name(monkeypatch):
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    monkeypatch.setattr(sys, "executable", "/opt/evtools/evtools")
    monkeypatch.setattr(sys, "argv", ["evcam", "-d"])
    assert own_program("") == ("/opt/evtools/evtools", ["evcam", "-d"])
    assert own_program("/new/evtools").path == "/new/evtools"


# === systemd =========================================================================


@pytest.fixture(params=["path", "abstract"])
def systemd(request, tmp_path):
    address = str(tmp_path / "notify")
    if request.param == "abstract":
        address = f"@evcam-test-{os.getpid()}"
    with NotifySocket(address) as listening:
        yield listening


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def notifier(systemd, clock):
    environ = {"NOTIFY_SOCKET": systemd.address, "WATCHDOG_USEC": "10000000"}
    made = Notifier.from_environment(environ, clock=clock)
    assert environ == {}
    yield made
    made.close()


def test_ready_says_which_process_it_is(notifier, systemd):
    notifier.ready("connected")
    assert systemd.read() == ["READY=1", f"MAINPID={os.getpid()}", "STATUS=connected"]
    notifier.ready()
    assert systemd.read() == ["READY=1", f"MAINPID={os.getpid()}"]


def test_a_status_is_one_line_and_sent_once(notifier, systemd):
    notifier.status("3 workers\nREADY=1")
    assert systemd.read() == ["STATUS=3 workers READY=1"]
    notifier.status("3 workers\nREADY=1")
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


def test_a_reload_has_its_time_in_the_same_datagram(notifier, systemd, clock):
    clock.now = 12.5
    notifier.reloading()
    assert systemd.read() == ["RELOADING=1", "MONOTONIC_USEC=12500000"]


@pytest.mark.parametrize(
    ("variables", "beats"),
    [
        ({"WATCHDOG_PID": str(os.getpid())}, True),
        ({"WATCHDOG_PID": str(os.getppid())}, True),
        ({"WATCHDOG_PID": "1000000000"}, False),
        ({"WATCHDOG_USEC": "soon"}, False),
        ({"WATCHDOG_USEC": "9" * 5000}, False),
        ({"WATCHDOG_USEC": "0"}, False),
    ],
)
def test_the_watchdog_must_be_for_us(systemd, variables, beats):
    environ = {"NOTIFY_SOCKET": systemd.address, "WATCHDOG_USEC": "1000000"}
    notifier = Notifier.from_environment(environ | variables)
    notifier.watchdog()
    assert systemd.is_silent is not beats
    notifier.close()


@pytest.mark.parametrize("address", ["", "vsock:2:1", "relative", "/nobody/is/here"])
def test_where_nobody_listens_nothing_happens(address):
    notifier = Notifier.from_environment({"NOTIFY_SOCKET": address})
    notifier.ready("x")
    notifier.status("y")
    notifier.watchdog()
    notifier.close()
