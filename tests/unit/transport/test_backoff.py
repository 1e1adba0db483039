import itertools
import random

import pytest

from evtools.transport.backoff import FIRST, LONGEST, delays


def first(count, **how):
    return list(itertools.islice(delays(**how), count))


def test_waits_grow_to_a_longest_and_stay_there():
    bounds = [1, 2, 4, 8, 10, 10, 10]
    waits = first(7, first=1, longest=10, rng=random.Random(1))
    assert all(bound / 2 <= wait <= bound for wait, bound in zip(waits, bounds, strict=True))


def test_no_two_monitors_come_back_together():
    assert first(5) != first(5)


def test_events_flow_within_five_seconds_of_the_brokers_return():
    assert max(first(50)) <= LONGEST < 5
    assert first(1)[0] <= FIRST


def test_each_series_begins_anew():
    waits = delays()
    for _ in range(20):
        next(waits)
    assert next(delays()) < next(waits)


def test_a_given_generator_decides():
    assert first(5, rng=random.Random(7)) == first(5, rng=random.Random(7))


def test_the_first_wait_may_not_be_longer_than_the_longest():
    assert first(3, first=1, longest=1, rng=random.Random(0)) == pytest.approx(
        [0.75, 0.75, 0.75], abs=0.25
    )
