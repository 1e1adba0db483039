import itertools
import random

from evtools.transport.backoff import FIRST, LONGEST, delays


def first(count, **how):
    return list(itertools.islice(delays(**how), count))


def test_waits_grow_to_a_longest_and_stay_there():
    bounds = [1, 2, 4, 8, 10, 10, 10]
    waits = first(7, first=1, longest=10, rng=random.Random(1))
    assert all(bound / 2 <= wait <= bound for wait, bound in zip(waits, bounds, strict=True))


def test_events_flow_within_five_seconds_and_no_two_monitors_come_back_together():
    assert max(first(50)) <= LONGEST < 5
    assert first(1)[0] <= FIRST
    assert first(5) != first(5)
