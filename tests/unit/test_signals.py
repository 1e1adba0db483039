"""Signals, sent to this very process."""

import os
import select
import signal
import subprocess
import sys
import tempfile

import pytest

from evtools.signals import EndingSignals, as_file, run_program
from tools.clock import FakeClock


@pytest.fixture
def ends():
    return []


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def signals(ends, clock):
    with EndingSignals(lambda: ends.append("end"), clock) as entered:
        yield entered


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_int_and_term_ask_for_the_end(signals, ends, number):
    assert not signals.ending
    signal.raise_signal(number)
    assert signals.ending
    assert ends == ["end"]


def test_the_same_key_press_may_be_seen_twice(signals, ends, clock):
    signal.raise_signal(signal.SIGINT)
    clock.now += 0.2
    signal.raise_signal(signal.SIGINT)
    assert ends == ["end"]


def test_a_second_key_press_ends_the_process_at_once():
    code = """if True:
        import itertools, signal, types
        from evtools.signals import EndingSignals, as_file
        clock = types.SimpleNamespace(monotonic=itertools.count().__next__)
        with EndingSignals(lambda: None, clock):
            signal.raise_signal(signal.SIGINT)
            try:
                signal.raise_signal(signal.SIGINT)
            finally:
                print("cleaned up")
    """
    command = [sys.executable, "-c", code]
    ended = subprocess.run(command, stdout=subprocess.PIPE, check=False)
    assert (ended.returncode, ended.stdout) == (130, b"")


def test_a_second_term_is_only_one_more(signals, ends):
    signal.raise_signal(signal.SIGTERM)
    signal.raise_signal(signal.SIGTERM)
    signal.raise_signal(signal.SIGINT)
    assert ends == ["end"] * 3


def test_others_can_be_added_all_are_put_back_and_what_is_ignored_stays_so(clock):
    heard = []
    numbers = [signal.SIGINT, signal.SIGTERM, signal.SIGUSR2]
    before = [signal.getsignal(number) for number in numbers]
    ignored = signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    signals = EndingSignals(lambda: None, clock)
    for number in (signal.SIGUSR1, signal.SIGUSR2):
        signals.handlers[number] = lambda number, _: heard.append(number)
    with signals:
        signal.raise_signal(signal.SIGUSR1)
        signal.raise_signal(signal.SIGUSR2)
    signal.signal(signal.SIGUSR1, ignored)
    assert heard == [signal.SIGUSR2]
    assert [signal.getsignal(number) for number in numbers] == before


# --- programs -----------------------------------------------------------------------


@pytest.mark.parametrize("is_over", [False, True])
def test_what_a_program_writes_is_read_when_it_ends_just_after_we_have_looked(
    monkeypatch, tmp_path, is_over
):
    started, looks, gate, real = [], [], tmp_path / "gate", select.poll
    os.mkfifo(gate)

    class Popen(subprocess.Popen):
        def __init__(self, *args, **how):
            super().__init__(*args, **how)
            started.append(self.pid)

    class Poll:
        def __init__(self):
            self.real = real()
            self.register = self.real.register

        def poll(self, timeout):
            looks.append(timeout)
            if len(looks) > 1:
                return self.real.poll(timeout)
            gate.write_text("go\n")
            os.waitid(os.P_PID, started[0], os.WEXITED | os.WNOWAIT)
            return []

    monkeypatch.setattr(subprocess, "Popen", Popen)
    monkeypatch.setattr(select, "poll", Poll)
    output = bytearray()
    status = run_program(
        ["sh", "-c", f"read word < {gate}; echo $word; exit 3"], seconds=600.0,
        given_up=lambda: is_over and bool(looks), output=output, output_max_bytes=100,
    )  # fmt: skip
    assert (status, output) == (3, b"go\n")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has files in memory")
@pytest.mark.parametrize("is_known", [True, False])
def test_what_a_program_reads_takes_no_folder(monkeypatch, is_known):
    """Nor does a Python need to know how: that of a release is for older systems."""
    monkeypatch.setattr(tempfile, "tempdir", "/nowhere")
    if not is_known:
        monkeypatch.delattr(os, "memfd_create")
    with as_file(b"text") as file:
        assert subprocess.check_output(["cat"], stdin=file) == b"text"
