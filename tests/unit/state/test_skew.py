"""How far other clocks are ahead of ours."""

from __future__ import annotations

import pytest

from evtools.state.skew import Clients, Skew


def skew_of(*sayings):
    """Return the skew of a clock that we heard say some times."""
    skew = Skew()
    for timestamp, local_received in sayings:
        skew.measure(timestamp, local_received)
    return skew


def test_a_clock_that_said_nothing_is_unknown():
    assert Skew().ahead is None
    assert Clients().ahead("gen1@web") is None
    assert Clients().ahead(None) is None


def test_the_least_delay_is_nearest_to_the_truth():
    skew = skew_of((129.0, 100.2), (130.0, 101.0), (131.0, 105.0))
    assert skew.ahead == 29.0
    assert skew_of((90.0, 100.0)).ahead == -10.0


def test_a_late_stream_does_not_look_like_a_slow_clock():
    skew = skew_of((1.0, 1.0), *((at, at + 20.0) for at in range(2, 90)))
    assert skew.ahead == 0.0


def test_a_clock_that_was_set_is_known_anew_in_two_minutes():
    skew = skew_of((40.0, 10.0), *((at, at) for at in range(11, 71)))
    assert skew.ahead == 30.0
    skew = skew_of((40.0, 10.0), *((at, at) for at in range(11, 140)))
    assert skew.ahead == 0.0


def test_what_was_long_ago_does_not_count():
    assert skew_of((40.0, 10.0), (1000.0, 1000.5)).ahead == -0.5


def test_clients_of_one_machine_have_one_clock():
    clients = Clients()
    clients["gen1@web"].measure(105.0, 100.0)
    clients["gen2@web"].measure(103.0, 100.0)
    clients["gen1@db"].measure(99.0, 100.0)
    assert clients.ahead("gen1@web") == clients.ahead("gen3@web") == 5.0
    assert clients.ahead("gen1@db") == -1.0


@pytest.mark.parametrize("name", ["gen{}@web", "gen1@web{}"])
def test_names_without_end_take_no_space_without_end(name):
    clients = Clients()
    for number in range(10_000):
        clients[name.format(number)].measure(1.0, 1.0)
    assert len(clients) <= 4096
    clients["x" * 300].measure(1.0, 1.0)
    assert "x" * 300 not in clients
