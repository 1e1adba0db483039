"""Answers to scrapers."""

from evtools.cam.http import Request
from evtools.cam.metrics.exposition import Family, Sample
from evtools.cam.metrics.scrape import scrape


def families():
    return [Family("x", "counter", "Help.", (Sample("_total", (), 1),))]


def test_a_scraper_gets_the_text_and_its_type():
    response = scrape(families)(Request("/metrics"))
    assert response.status == 200
    assert response.content_type.startswith("text/plain; version=0.0.4")
    assert response.body.endswith(b"\nx_total 1\n")


def test_a_scraper_gets_openmetrics_if_it_asks_for_that():
    accept = "application/openmetrics-text;version=1.0.0;q=0.75,text/plain;q=0.5"
    response = scrape(families)(Request("/metrics", accept))
    assert response.content_type.startswith("application/openmetrics-text")
    assert response.body.endswith(b"# EOF\n")
