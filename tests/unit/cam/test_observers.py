import gc
import logging

import pytest

from evtools.cam.observers import Signal


@pytest.fixture
def signal():
    return Signal("test")


class Listener:
    def __init__(self):
        self.heard = []

    def hear(self, sender, **named):
        self.heard.append((sender, named))
        return len(self.heard)


def test_who_is_connected_hears_who_sends_what(signal):
    listener = Listener()
    assert signal.connect(listener.hear) == listener.hear
    assert signal.send("me", x=1) == [(listener.hear, 1)]
    assert listener.heard == [("me", {"signal": signal, "x": 1})]


def test_who_connects_twice_hears_once(signal):
    listener = Listener()
    signal.connect(listener.hear)
    signal.connect(listener.hear)
    assert len(signal.send("me")) == 1


def test_it_is_a_decorator_with_and_without_arguments(signal):
    @signal.connect
    def all_of_it(**named):
        return "all"

    @signal.connect(sender="you")
    def yours(**named):
        return "yours"

    assert signal.send("me") == [(all_of_it, "all")]
    assert signal.send("you") == [(all_of_it, "all"), (yours, "yours")]


def test_what_nobody_holds_is_forgotten(signal):
    listener = Listener()
    signal.connect(listener.hear)
    signal.connect(lambda **_: "gone")
    del listener
    gc.collect()
    assert signal.send("me") == []
    assert signal._receivers == []


def test_what_is_connected_for_good_stays(signal):
    signal.connect(lambda **_: "here", weak=False)
    gc.collect()
    assert [response for _, response in signal.send("me")] == ["here"]


def test_who_is_disconnected_hears_no_more(signal):
    one, other = Listener(), Listener()
    signal.connect(one.hear)
    signal.connect(other.hear)
    assert signal.disconnect(one.hear)
    assert not signal.disconnect(one.hear)
    signal.send("me")
    assert (one.heard, len(other.heard)) == ([], 1)


def test_one_that_raises_keeps_nothing_from_the_others(signal, caplog):
    def fail(**_):
        raise ValueError("no")

    listener = Listener()
    signal.connect(fail)
    signal.connect(listener.hear)
    with caplog.at_level(logging.ERROR):
        responses = signal.send("me")
    assert isinstance(responses[0][1], ValueError)
    assert len(listener.heard) == 1
    assert "ValueError: no" in caplog.text


def test_it_has_a_name(signal):
    assert repr(signal) == "<Signal: test>"
