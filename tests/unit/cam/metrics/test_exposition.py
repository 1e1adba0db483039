"""Metrics as text: names, labels, figures, and what a scraper asks for."""

import math

import pytest
from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.parser import text_string_to_metric_families

from evtools.cam.metrics.exposition import Family, Format, Sample, label, number, render

HOSTILE = 'a"b\\c\nd\x1b[31m\u202e'


def family(kind="gauge", name="x", suffix="", value=1, **labels):
    return Family(name, kind, "Help.", (Sample(suffix, tuple(labels.items()), value),))


def test_a_gauge_is_three_lines():
    assert render([family(state="up", host="w1")]) == (
        b'# HELP x Help.\n# TYPE x gauge\nx{state="up",host="w1"} 1\n'
    )


def test_what_has_no_labels_has_no_braces():
    assert render([family(value=0.5)]).endswith(b"\nx 0.5\n")


def test_a_counter_is_named_as_its_samples_in_the_older_format():
    counted = family("counter", suffix="_total")
    assert render([counted]).splitlines() == [
        *(b"# HELP x_total Help.", b"# TYPE x_total counter", b"x_total 1")
    ]


def test_a_counter_is_named_without_its_end_in_openmetrics():
    counted = family("counter", suffix="_total")
    assert render([counted], Format.OPENMETRICS).splitlines() == [
        *(b"# HELP x Help.", b"# TYPE x counter", b"x_total 1", b"# EOF")
    ]


@pytest.mark.parametrize("form", Format)
def test_a_reader_gets_labels_as_they_were(form):
    text = render([family(name="x", value=2, task='"quoted" \\ and\nbroken')], form)
    read = {
        Format.TEXT: text_string_to_metric_families,
        Format.OPENMETRICS: openmetrics.text_string_to_metric_families,
    }
    (found,) = read[form](text.decode())
    assert found.samples[0].labels == {"task": '"quoted" \\ and\nbroken'}
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


def test_text_of_the_wire_is_made_printable():
    assert label(HOSTILE, "?") == 'a"b\\c\\nd\\x1b[31m\\u202e'
    assert label("\ud800", "?") == "\\ud800"


def test_long_text_is_cut():
    assert len(label("x" * 10**6, "?")) == 200
    # Every character becomes ten.
    assert len(label("\U000e0001" * 300, "?")) == 200


@pytest.mark.parametrize("nothing", [None, ""])
def test_no_text_is_unknown(nothing):
    assert label(nothing, "?") == "?"


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
    assert Format.accepted(accept) is form
