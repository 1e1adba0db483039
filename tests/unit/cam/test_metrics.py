"""Metrics: their text, bounded instruments, and the metrics of evcam itself."""

import math
from pathlib import Path

import pytest
from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.parser import text_string_to_metric_families

from evtools import __version__
from evtools.cam import health
from evtools.cam.health import own_families
from evtools.cam.metrics import (
    FLOWER,
    IDLE,
    METRICS,
    Counter,
    Family,
    Gauge,
    Histogram,
    Sample,
    label,
    number,
)
from evtools.cam.prometheus import Format, render, scrape
from evtools.cam.schedule import Counters, Shots
from evtools.state import OTHERS, UNKNOWN
from evtools.transport import Statistics
from evtools.wire import Defect

MANUAL = Path(__file__).parents[3] / "man" / "evcam.1"
TEXT, OPENMETRICS = Format
READERS = {
    TEXT: text_string_to_metric_families,
    OPENMETRICS: openmetrics.text_string_to_metric_families,
}


# --- text ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("form", "head", "end"),
    [
        (TEXT, "# HELP x_total Help.\n# TYPE x_total counter\n", ""),
        (OPENMETRICS, "# HELP x Help.\n# TYPE x counter\n", "# EOF\n"),
    ],
)
def test_a_family_is_its_help_its_type_and_its_samples(form, head, end):
    sample = Sample("_total", (("state", "up"), ("host", 'a "b" \\\nc')), 2)
    text = render([Family("x", "counter", "Help.", (sample,))], form).decode()
    assert text == f'{head}x_total{{state="up",host="a \\"b\\" \\\\\\nc"}} 2\n{end}'
    (found,) = READERS[form](text)
    assert found.samples[0].labels == {"state": "up", "host": 'a "b" \\\nc'}
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
    assert label('a"b\\c\nd\x1b[31m\u202e') == 'a"b\\c\\nd\\x1b[31m\\u202e'
    assert label("\ud800") == "\\ud800"
    assert len(label("x" * 10**6)) == 200
    # Every character becomes ten.
    assert len(label("\U000e0001" * 300)) == 200
    assert label(None) == label("") == UNKNOWN


@pytest.mark.parametrize(
    ("accept", "form"),
    [
        ("", TEXT),
        ("*/*", TEXT),
        ("text/plain;version=0.0.4;q=0.5,*/*;q=0.1", TEXT),
        ("application/openmetrics-text; version=1.0.0", OPENMETRICS),
        ("application/openmetrics-text;version=1.0.0;q=0.75,text/plain;q=0.5", OPENMETRICS),
        ("Application/OpenMetrics-Text", OPENMETRICS),
        ("application/openmetrics-text; q=0", TEXT),
        ("application/openmetrics-text;q=0.0,text/plain", TEXT),
        (";;,,;q=", TEXT),
    ],
)
def test_a_scraper_gets_the_format_that_it_asks_for(accept, form):
    families = [Family("x", "counter", "Help.", (Sample("_total", (), 1),))]
    response = scrape(lambda: families)(accept)
    assert response.content_type == form.value
    assert response.body == render(families, form)


# --- instruments ---------------------------------------------------------------------


def made(kind, most=3):
    return kind("x", "Help.", ("task",), most)


def values(instrument):
    """Return the values of an instrument, by suffix and labels."""
    return {
        (suffix, *(value for _, value in labels)): value
        for suffix, labels, value in instrument.family().samples
    }


def test_an_idle_series_makes_room_for_a_new_one_but_the_others_stay():
    counter = made(Counter, most=2)
    for name in ("idle", "busy", "other"):
        counter.add((name,))
    counter.make_room(0.0)
    counter.add(("busy",))
    counter.make_room(IDLE + 1)
    counter.add(("busy",))
    counter.make_room(2 * IDLE + 2)
    assert values(counter) == {("_total", "busy"): 3, ("_total", OTHERS): 1}


def test_a_histogram_counts_into_buckets_that_hold_the_smaller_ones_too():
    histogram = made(Histogram, most=1)
    histogram.buckets = (0.1, 1.0)
    for name, value in (("a", 0.0), ("a", 0.1), ("a", 0.5), ("a", 7.0), ("b", 2.0), ("c", 2.0)):
        histogram.observe((name,), value)
    found = values(histogram)
    assert {name: value for name, value in found.items() if "a" in name} == {
        ("_bucket", "a", "0.1"): 2,
        ("_bucket", "a", "1.0"): 3,
        ("_bucket", "a", "+Inf"): 4,
        ("_sum", "a"): pytest.approx(7.6),
        ("_count", "a"): 4,
    }
    assert (found["_count", OTHERS], histogram.folded) == (2, 2)
    for at in (0.0, IDLE + 1):
        histogram.make_room(at)
    assert [*histogram.series] == [(OTHERS,)]


def test_a_gauge_shows_the_least_of_too_many_as_one():
    gauge = made(Gauge, most=2)
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
    events = {"task-sent": 3, "a\x1b": 1, "a\\x1b": 2}
    # fmt: off
    counters = Counters(
        started=5.0, shots=shots, cleanups=3, cleanups_failed=1, last_success_at=9.0, lag=0.5,
        tasks=7, events_by_type=events, nameless=1,
    )
    statistics = Statistics(
        dropped=3, missed=4, gaps=2, gap_seconds=7.5, reconnects=1, connected=True,
        defects=(Defect("strange", b"", count=5),),
    )
    found = figures(counters, statistics)
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
    assert any(key[0] == "evcam_build_info" and __version__ in key for key in found)
    assert found["process_cpu_seconds_total",] > 0
    assert found["process_resident_memory_bytes",] > 1_000_000


def test_what_is_not_known_is_left_out(monkeypatch, tmp_path):
    assert figures().keys().isdisjoint({("evcam_lag_seconds",), ("evcam_events_total",)})
    for text in ("", "x y"):
        statm = tmp_path / "statm"
        monkeypatch.setattr(health, "_STATM", statm)
        assert ("process_resident_memory_bytes",) not in figures()
        statm.write_text(text)
        assert ("process_resident_memory_bytes",) not in figures()


def test_names_come_once_in_the_manual_too_and_helps_are_one_line_of_plain_text():
    known = Counters(lag=1.0, last_event_at=1.0, last_shot_seconds=1.0, last_success_at=1.0)
    helps = [(family.name, family.help) for family in own_families(known, Statistics())]
    metrics = {**METRICS, **FLOWER}
    helps += [(name, text) for name, (*_, text) in metrics.items()]
    assert len(helps) == len(dict(helps)) > 40
    for _, text in helps:
        assert text.isascii()
        assert text.isprintable()
        assert not set(text) & set('"\\')
        assert text.endswith(".")
    words = set(MANUAL.read_text().replace("\\-", "-").replace(",", " ").split())
    assert {n + "_total" * (kind is Counter) for n, (kind, *_) in metrics.items()} <= words
