"""Signals are sent to this very process."""

import base64
import signal
import subprocess
import sys
import textwrap

import pytest

from evtools.top.terminal import COPY_BYTES_MAX, Signals, copy_sequence
from tools.clock import FakeClock


def test_a_copy_is_what_osc_52_says():
    sequence = copy_sequence("7a8b8d37 ü")
    assert sequence.startswith("\x1b]52;c;")
    assert sequence.endswith("\x07")
    assert base64.b64decode(sequence[7:-1]).decode() == "7a8b8d37 ü"


def test_what_terminals_do_not_take_is_not_sent():
    assert copy_sequence("x" * COPY_BYTES_MAX) == ""
    assert copy_sequence("x" * (COPY_BYTES_MAX * 3 // 4 - 3))


def test_a_lone_surrogate_can_be_copied():
    assert copy_sequence("\udc80")


@pytest.fixture
def calls():
    return []


@pytest.fixture
def signals(calls):
    made = Signals(lambda: calls.append("wake"), lambda: calls.append("give up"), FakeClock())
    with made:
        yield made


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_term_and_hup_end(signals, calls, number):
    signal.raise_signal(number)
    assert signals.ending
    assert calls == ["wake"]


def test_after_a_stop_somebody_has_to_look_after_the_terminal_once(signals, calls):
    assert not signals.continued()
    signal.raise_signal(signal.SIGCONT)
    assert signals.continued()
    assert not signals.continued()
    assert calls == ["wake"]


def test_int_is_a_key_that_is_seen_once(signals, calls):
    assert not signals.interrupted()
    signal.raise_signal(signal.SIGINT)
    assert not signals.ending
    assert signals.interrupted()
    assert not signals.interrupted()
    assert calls == ["wake"]


def test_the_same_key_press_may_be_seen_twice(signals, calls):
    signal.raise_signal(signal.SIGINT)
    signal.raise_signal(signal.SIGINT)
    assert calls == ["wake"]


def test_a_second_int_ends_a_loop_that_hangs_after_the_terminal_is_restored():
    code = """
        import signal
        from evtools.top.terminal import Signals

        class Clock:
            now = 0.0
            def monotonic(self):
                self.now += 1
                return self.now

        with Signals(lambda: None, lambda: print("restored", flush=True), Clock()):
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)
            print("still there")
    """
    ended = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE, check=False
    )
    assert ended.returncode == 130
    assert ended.stdout == b"restored\n"


def test_what_was_before_is_put_back(calls):
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [signal.getsignal(number) for number in numbers]
    with Signals(lambda: None, lambda: None, FakeClock()):
        assert signal.getsignal(signal.SIGINT) not in before
    assert [signal.getsignal(number) for number in numbers] == before
