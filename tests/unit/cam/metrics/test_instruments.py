"""Instruments: what they count, and that they stay small."""

import pytest

from evtools.cam.metrics.instruments import IDLE, About, Counter, Gauge, Histogram
from evtools.state import OTHERS


def about(*labels, most=3):
    return About("x", "Help.", labels, most)


def told(instrument):
    """Return what an instrument tells, by suffix and values of labels."""
    return {
        (suffix, *(value for _, value in labels)): value
        for suffix, labels, value in instrument.family().samples
    }


# --- counters ------------------------------------------------------------------------


def test_a_counter_adds_up():
    counter = Counter(about("task"))
    counter.add(("a",))
    counter.add(("a",), 2)
    counter.add(("b",))
    assert told(counter) == {("_total", "a"): 3, ("_total", "b"): 1}


def test_a_counter_may_have_no_labels():
    counter = Counter(about())
    counter.add()
    assert told(counter) == {("_total",): 1}


def test_a_series_can_be_known_before_it_counts():
    counter = Counter(about("task"))
    counter.add(("a",), 0)
    assert told(counter) == {("_total", "a"): 0}
    assert ("a",) in counter
    assert counter.folded == 0


def test_what_has_no_room_is_counted_with_the_others():
    counter = Counter(about("task", "queue"))
    for number in range(10):
        counter.add((f"t{number}", "q"))
    others = ("_total", OTHERS, OTHERS)
    assert told(counter)[others] == 7
    assert len(told(counter)) == 4
    assert sum(told(counter).values()) == 10
    assert counter.folded == 7


def test_what_is_only_made_known_is_not_told_as_folded():
    counter = Counter(about("task", most=1))
    counter.add(("a",))
    counter.add(("b",), 0)
    assert counter.folded == 0
    assert told(counter)["_total", OTHERS] == 0


def test_a_known_series_goes_on_when_there_is_no_room():
    counter = Counter(about("task", most=1))
    counter.add(("a",))
    counter.add(("b",))
    counter.add(("a",))
    assert told(counter)["_total", "a"] == 2


def test_an_idle_series_makes_room_for_a_new_one():
    counter = Counter(about("task", most=2))
    counter.add(("idle",))
    counter.add(("busy",))
    counter.make_room(0.0)
    counter.add(("busy",))
    counter.make_room(IDLE + 1)
    counter.add(("new",))
    assert told(counter) == {("_total", "busy"): 2, ("_total", "new"): 1}


def test_the_others_stay():
    counter = Counter(about("task", most=1))
    counter.add(("a",))
    counter.add(("b",))
    counter.make_room(0.0)
    counter.make_room(IDLE + 1)
    assert told(counter) == {("_total", OTHERS): 1}


def test_idle_series_stay_while_there_is_room():
    counter = Counter(about("task", most=2))
    counter.add(("a",))
    for now in (0.0, IDLE + 1, 2 * IDLE + 2):
        counter.make_room(now)
    assert told(counter) == {("_total", "a"): 1}


def test_idleness_is_counted_anew_after_there_was_room():
    counter = Counter(about("task", most=1))
    counter.add(("a",))
    counter.make_room(0.0)
    counter.forget(("a",))
    counter.make_room(1.0)
    counter.add(("a",))
    counter.make_room(IDLE + 1)
    assert ("a",) in counter


def test_a_series_can_leave():
    counter = Counter(about("task"))
    counter.add(("a",))
    counter.forget(("a",))
    counter.forget(("never",))
    assert counter.all_keys() == []


# --- histograms ----------------------------------------------------------------------


def test_a_histogram_counts_into_buckets_that_hold_the_smaller_ones_too():
    histogram = Histogram(about("task"), (0.1, 1.0))
    for value in (0.0, 0.1, 0.5, 7.0):
        histogram.observe(("a",), value)
    assert told(histogram) == {
        ("_bucket", "a", "0.1"): 2,
        ("_bucket", "a", "1.0"): 3,
        ("_bucket", "a", "+Inf"): 4,
        ("_sum", "a"): pytest.approx(7.6),
        ("_count", "a"): 4,
    }


def test_a_histogram_is_bounded_too():
    histogram = Histogram(about("task", most=1), (1.0,))
    for name in ("a", "b", "c"):
        histogram.observe((name,), 2.0)
    assert told(histogram)["_count", "a"] == 1
    assert told(histogram)["_count", OTHERS] == 2
    assert histogram.folded == 2


def test_an_idle_distribution_makes_room():
    histogram = Histogram(about("task", most=1), (1.0,))
    histogram.observe(("a",), 2.0)
    histogram.make_room(0.0)
    histogram.make_room(IDLE + 1)
    assert told(histogram) == {}


# --- gauges --------------------------------------------------------------------------


def test_a_gauge_tells_the_last_that_it_was_shown():
    gauge = Gauge(about("task"))
    gauge.show({("a",): 1, ("b",): 2})
    gauge.show({("b",): 3})
    assert told(gauge) == {("", "b"): 3}


def test_a_gauge_tells_the_least_of_too_many_as_one():
    gauge = Gauge(about("task", most=2))
    gauge.show({("a",): 1, ("b",): 9, ("c",): 2, ("d",): 8})
    assert told(gauge) == {("", "b"): 9, ("", "d"): 8, ("", OTHERS): 3}
    assert gauge.folded == 2


def test_a_family_says_what_it_is():
    kinds = [Counter(about()), Histogram(about()), Gauge(about())]
    families = [instrument.family() for instrument in kinds]
    assert [found.kind for found in families] == ["counter", "histogram", "gauge"]
    assert {found.name for found in families} == {"x"}
    assert {found.help for found in families} == {"Help."}
