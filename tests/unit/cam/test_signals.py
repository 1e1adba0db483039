"""Signals, sent to this very process."""

import signal

import pytest

from evtools.cam.signals import Signals
from tools.clock import FakeClock

FLAGS = {
    signal.SIGHUP: "reopen_wanted",
    signal.SIGUSR1: "dump_wanted",
    signal.SIGUSR2: "shot_wanted",
}


@pytest.fixture
def ends():
    return []


@pytest.fixture
def signals(ends):
    with Signals(lambda: ends.append("end"), FakeClock()) as entered:
        yield entered


@pytest.mark.parametrize("number", FLAGS)
def test_each_raises_its_flag_alone_and_ends_nothing(signals, ends, number):
    signal.raise_signal(number)
    raised = [flag for flag in FLAGS.values() if getattr(signals, flag)]
    assert raised == [FLAGS[number]]
    assert not signals.ending
    assert ends == []


def test_a_flag_that_was_put_down_can_be_raised_again(signals):
    signal.raise_signal(signal.SIGUSR2)
    signals.shot_wanted = False
    signal.raise_signal(signal.SIGUSR2)
    assert signals.shot_wanted


def test_term_asks_for_the_end(signals, ends):
    signal.raise_signal(signal.SIGTERM)
    assert signals.ending
    assert ends == ["end"]
