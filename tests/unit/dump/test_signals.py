"""Signals, sent to this very process."""

import os
import signal

import pytest

from evtools.dump.app import Signals
from tools.clock import FakeClock


@pytest.fixture
def ends():
    return []


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def signals(ends, clock):
    made = Signals(lambda: ends.append("end"), clock, reopen_on_hangup=True)
    with made:
        yield made


def send(number):
    signal.raise_signal(number)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_int_and_term_end_the_dump_in_order(signals, ends, number):
    send(number)
    assert signals.ending
    assert ends == ["end"]


def test_usr1_asks_for_the_counters_and_ends_nothing(signals, ends):
    send(signal.SIGUSR1)
    assert signals.counters_wanted
    assert not signals.ending
    assert ends == []


def test_hup_asks_for_a_new_file_where_there_is_one(signals, ends):
    send(signal.SIGHUP)
    assert signals.reopen_wanted
    assert ends == []


def test_hup_ends_a_dump_without_a_file(ends, clock):
    with Signals(lambda: ends.append("end"), clock, reopen_on_hangup=False) as signals:
        send(signal.SIGHUP)
    assert signals.ending
    assert not signals.reopen_wanted
    assert ends == ["end"]


def test_a_stop_is_told_from_when_to_when(signals, ends, clock, monkeypatch):
    stops = []

    def kill(pid, number):
        # Here the process would stop, for a while.
        stops.append((pid, number, signal.getsignal(number)))
        clock.now += 7.0

    monkeypatch.setattr(os, "kill", kill)
    send(signal.SIGTSTP)
    send(signal.SIGTSTP)
    assert signals.stopped == [(100.0, 107.0), (107.0, 114.0)]
    assert stops == [(os.getpid(), signal.SIGTSTP, signal.SIG_DFL)] * 2
    assert ends == []


def test_info_is_as_usr1_where_it_exists(ends, clock, monkeypatch):
    monkeypatch.setattr(signal, "SIGINFO", signal.SIGUSR2, raising=False)
    with Signals(lambda: None, clock, reopen_on_hangup=True) as signals:
        send(signal.SIGUSR2)
    assert signals.counters_wanted


def test_what_was_before_is_put_back(clock):
    numbers = [*(signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    numbers += [signal.SIGUSR1, signal.SIGTSTP]
    before = [signal.getsignal(number) for number in numbers]
    with Signals(lambda: None, clock, reopen_on_hangup=True):
        assert signal.getsignal(signal.SIGINT) not in before
    assert [signal.getsignal(number) for number in numbers] == before
