"""Metrics: their text, bounded instruments, and the metrics of evcam itself."""

import math
from pathlib import Path

import pytest
from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.parser import text_string_to_metric_families

from evtools import __version__
from evtools.cam import health, prometheus
from evtools.cam.health import own_families
from evtools.cam.http import Request
from evtools.cam.prometheus import (
    IDLE,
    Counter,
    Family,
    Format,
    Gauge,
    Histogram,
    Sample,
    label,
    number,
    render,
    scrape,
)
from evtools.cam.schedule import Counters, Shots
from evtools.state import OTHERS, UNKNOWN
from evtools.transport import Statistics
from evtools.wire import Defect

MANUAL = Path(__file__).parents[3] / "man" / "evcam.1"
HOSTILE = 'a"b\\c\nd\x1b[31m\u202e'
READERS = {
    Format.TEXT: text_string_to_metric_families,
    Format.OPENMETRICS: openmetrics.text_string_to_metric_families,
}


# --- text ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("form", "text"),
    [
        (
            Format.TEXT,
            b'# HELP x_total Help.\n# TYPE x_total counter\nx_total{state="up",host="w1"} 1\n',
        ),
        (
            Format.OPENMETRICS,
            b'# HELP x Help.\n# TYPE x counter\nx_total{state="up",host="w1"} 1\n# EOF\n',
        ),
    ],
)
def test_a_family_is_its_help_its_type_and_its_samples(form, text):
    sample = Sample("_total", (("state", "up"), ("host", "w1")), 1)
    assert render([Family("x", "counter", "Help.", (sample,))], form) == text


@pytest.mark.parametrize("form", Format)
def test_a_reader_gets_labels_as_they_were(form):
    value = '"quoted" \\ and\nbroken'
    text = render([Family("x", "gauge", "Help.", (Sample("", (("task", value),), 2),))], form)
    (found,) = READERS[form](text.decode())
    assert found.samples[0].labels == {"task": value}
    assert found.samples[0].value == 2


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (3, "3"),
        (0.1, "0.1"),
        (1e-05, "1e-05"),
        (math.inf, "+Inf"),
        (-math.inf, "-Inf"),
        (math.nan, "NaN"),
        (2**70, str(2**70)),
    ],
)
def test_figures_are_written_as_prometheus_reads_them(value, text):
    assert number(value) == text
    assert float(text) == pytest.approx(value, nan_ok=True)


def test_text_from_the_wire_is_made_printable_and_cut():
    assert label(HOSTILE) == 'a"b\\c\\nd\\x1b[31m\\u202e'
    assert label("\ud800") == "\\ud800"
    assert len(label("x" * 10**6)) == 200
    # Every character becomes ten.
    assert len(label("\U000e0001" * 300)) == 200
    assert label(None) == label("") == UNKNOWN


@pytest.mark.parametrize(
    ("accept", "form"),
    [
        ("", Format.TEXT),
        ("*/*", Format.TEXT),
        ("text/plain;version=0.0.4;q=0.5,*/*;q=0.1", Format.TEXT),
        ("application/openmetrics-text; version=1.0.0", Format.OPENMETRICS),
        ("application/openmetrics-text;version=1.0.0;q=0.75,text/plain;q=0.5", Format.OPENMETRICS),
        ("Application/OpenMetrics-Text", Format.OPENMETRICS),
        ("application/openmetrics-text; q=0", Format.TEXT),
        ("application/openmetrics-text;q=0.0,text/plain", Format.TEXT),
        (";;,,;q=", Format.TEXT),
    ],
)
def test_a_scraper_gets_the_format_that_it_asks_for(accept, form):
    families = [Family("x", "counter", "Help.", (Sample("_total", (), 1),))]
    response = scrape(lambda: families)(Request("/metrics", accept))
    assert response.content_type == form.value
    assert response.body == render(families, form)


# --- counters ------------------------------------------------------------------------


def about(*labels, most=3):
    return "x", "Help.", labels, most


def values(instrument):
    """Return the values of an instrument, by suffix and labels."""
    return {
        (suffix, *(value for _, value in labels)): value
        for suffix, labels, value in instrument.family().samples
    }


def test_what_has_no_room_is_counted_with_the_others():
    counter = Counter(*about("task", "queue"))
    for name in range(10):
        counter.add((f"t{name}", "q"))
    others = ("_total", OTHERS, OTHERS)
    assert values(counter)[others] == 7
    assert len(values(counter)) == 4
    assert sum(values(counter).values()) == 10
    assert counter.folded == 7


def test_what_is_only_made_known_is_not_told_as_folded():
    counter = Counter(*about("task", most=1))
    counter.add(("a",))
    counter.add(("b",), 0)
    assert counter.folded == 0
    assert values(counter)["_total", OTHERS] == 0


def test_an_idle_series_makes_room_for_a_new_one():
    counter = Counter(*about("task", most=2))
    counter.add(("idle",))
    counter.add(("busy",))
    counter.make_room(0.0)
    counter.add(("busy",))
    counter.make_room(IDLE + 1)
    counter.add(("new",))
    assert values(counter) == {("_total", "busy"): 2, ("_total", "new"): 1}


def test_the_others_stay():
    counter = Counter(*about("task", most=1))
    counter.add(("a",))
    counter.add(("b",))
    counter.make_room(0.0)
    counter.make_room(IDLE + 1)
    assert values(counter) == {("_total", OTHERS): 1}


def test_idleness_is_counted_anew_after_there_was_room():
    counter = Counter(*about("task", most=1))
    counter.add(("a",))
    counter.make_room(0.0)
    counter.forget(("a",))
    counter.make_room(1.0)
    counter.add(("a",))
    counter.make_room(IDLE + 1)
    assert ("a",) in counter.series


# --- histograms ----------------------------------------------------------------------


def test_a_histogram_counts_into_buckets_that_hold_the_smaller_ones_too():
    histogram = Histogram(*about("task"), buckets=(0.1, 1.0))
    for value in (0.0, 0.1, 0.5, 7.0):
        histogram.observe(("a",), value)
    assert values(histogram) == {
        ("_bucket", "a", "0.1"): 2,
        ("_bucket", "a", "1.0"): 3,
        ("_bucket", "a", "+Inf"): 4,
        ("_sum", "a"): pytest.approx(7.6),
        ("_count", "a"): 4,
    }


def test_a_histogram_is_bounded_too():
    histogram = Histogram(*about("task", most=1), buckets=(1.0,))
    for name in ("a", "b", "c"):
        histogram.observe((name,), 2.0)
    assert values(histogram)["_count", "a"] == 1
    assert values(histogram)["_count", OTHERS] == 2
    assert histogram.folded == 2


# --- gauges --------------------------------------------------------------------------


def test_a_gauge_tells_the_least_of_too_many_as_one():
    gauge = Gauge(*about("task", most=2))
    gauge.show({("a",): 1, ("b",): 9, ("c",): 2, ("d",): 8})
    assert values(gauge) == {("", "b"): 9, ("", "d"): 8, ("", OTHERS): 3}
    assert gauge.folded == 2


# --- evcam itself ---------------------------------------------------------------------


def figures(counters=None, statistics=None):
    """Return all figures by name and the value of the label, if there is one."""
    return {
        (family.name + suffix, *(value for _, value in labels)): value
        for family in own_families(counters or Counters(), statistics or Statistics())
        for suffix, labels, value in family.samples
    }


def test_the_figures_of_evcam_are_those_of_its_counters():
    shots = Shots(taken=1, skipped_rate=2, overrun=3, failed=4)
    counters = Counters(
        started=5.0,
        shots=shots,
        cleanups=3,
        cleanups_failed=1,
        last_success_at=9.0,
        lag=0.5,
        tasks=7,
        events_by_type={"task-sent": 3, "a\x1b": 1, "a\\x1b": 2},
        nameless=1,
    )
    statistics = Statistics(
        dropped=3,
        missed=4,
        gaps=2,
        gap_seconds=7.5,
        reconnects=1,
        connected=True,
        defects=(Defect("strange", b"", count=5),),
    )
    found = figures(counters, statistics)
    assert any(key[0] == "evcam_build_info" and __version__ in key for key in found)
    assert found["process_cpu_seconds_total",] > 0
    assert found["process_resident_memory_bytes",] > 1_000_000
    # fmt: off
    expected = {
        ("evcam_up",): 1,
        ("evcam_connected",): 1,
        ("evcam_events_total", "task-sent"): 3,
        ("evcam_events_total", "a\\x1b"): 3,
        ("evcam_events_lost_total", "dropped"): 3,
        ("evcam_events_lost_total", "missed"): 4,
        ("evcam_malformed_total",): 6,
        ("evcam_gaps_total",): 2,
        ("evcam_gap_seconds_total",): 7.5,
        ("evcam_reconnects_total",): 1,
        ("evcam_lag_seconds",): 0.5,
        ("evcam_snapshots_total", "taken"): 1,
        ("evcam_snapshots_total", "skipped_rate"): 2,
        ("evcam_snapshots_total", "overrun"): 3,
        ("evcam_snapshots_total", "failed"): 4,
        ("evcam_cleanups_total", "done"): 2,
        ("evcam_cleanups_total", "failed"): 1,
        ("evcam_last_success_timestamp_seconds",): 9.0,
        ("evcam_state_tasks",): 7,
        ("process_start_time_seconds",): 5.0,
    }
    # fmt: on
    assert found.items() >= expected.items()


def test_what_is_not_known_is_left_out(monkeypatch, tmp_path):
    assert figures().keys().isdisjoint({("evcam_lag_seconds",), ("evcam_events_total",)})
    for text in ("", "x y"):
        statm = tmp_path / "statm"
        monkeypatch.setattr(health, "_STATM", statm)
        assert ("process_resident_memory_bytes",) not in figures()
        statm.write_text(text)
        assert ("process_resident_memory_bytes",) not in figures()


# --- all metrics ----------------------------------------------------------------------


def entries():
    found = [each for each in vars(prometheus).values() if isinstance(each, prometheus.Entry)]
    return [*prometheus.COUNTERS.values(), *found]


def test_names_come_once_and_helps_are_one_line_of_plain_text():
    known = Counters(lag=1.0, last_event_at=1.0, last_shot_seconds=1.0, last_success_at=1.0)
    named = [*entries(), *own_families(known, Statistics())]
    names = [each.name for each in named]
    assert len(names) == len(set(names)) > 40
    for each in named:
        assert each.help.isascii()
        assert each.help.isprintable()
        assert not set(each.help) & set('"\\')
        assert each.help.endswith(".")


def test_the_manual_has_every_name_of_a_clusters_metrics():
    words = set(MANUAL.read_text().replace("\\-", "-").replace(",", " ").split())
    for entry in entries():
        counts = entry in prometheus.COUNTERS.values() or entry is prometheus.FOLDED
        assert entry.name + ("_total" if counts else "") in words
