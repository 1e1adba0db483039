"""The page of evtools report in a real browser: wide and narrow, in the dark, on paper."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from evtools.wire import encode_line
from tools.browser import Browser
from tools.command import installed
from tools.incident import record
from tools.life import Life

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# Whatever is drawn has a size, and nothing is wider than the window.
DRAWN = """[...document.querySelectorAll('figure svg path')].filter(
  path => path.getBoundingClientRect().width > 0).length"""
OVERFLOW = "document.documentElement.scrollWidth - innerWidth"
# The least contrast of a text with what is behind it, as WCAG measures that.
CONTRAST = """(() => {
  const light = colour => {
    const [r, g, b] = colour.match(/[0-9.]+/g).slice(0, 3).map(Number).map(value =>
      value / 255 <= 0.03928 ? value / 3294.6 : ((value / 255 + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = element => {
    for (; element; element = element.parentElement) {
      const colour = getComputedStyle(element).backgroundColor;
      if (!/, 0\\)$/.test(colour)) return colour;
    }
  };
  const texts = [...document.querySelectorAll("p, td, th, dt, dd, li, span, h1, h2, h3, a, text")];
  return Math.min(...texts.filter(each => each.textContent.trim()).map(each => {
    const style = getComputedStyle(each);
    const front = each.tagName === "text" ? style.fill : style.color;
    const [a, b] = [light(front), light(behind(each))].sort((one, two) => two - one);
    return (a + 0.05) / (b + 0.05);
  }));
})()"""
FIRST = "[...document.querySelectorAll('#types tbody tr')].map(row => row.cells[0].textContent)"


def written(folder: Path, recording: Path) -> str:
    """Return the address of the page about a recording."""
    page = folder / f"{recording.stem}.html"
    subprocess.run([installed("evtools"), "report", recording, "-o", page, "-q"], check=True)
    return page.as_uri()


@pytest.fixture(scope="module")
def browser(tmp_path_factory) -> Iterator[Browser]:
    with Browser(tmp_path_factory.mktemp("browser")) as browser:
        yield browser


@pytest.fixture(scope="module")
def incident(tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp("incident")
    record(folder / "day.jsonl", seconds=1200.0)
    return written(folder, folder / "day.jsonl")


def test_a_page_is_drawn_at_all_widths_and_in_the_dark(browser, incident):
    behind = set()
    for width in (1280, 380):
        for dark in (False, True):
            page = browser.open(incident, width=width, dark=dark)
            assert page.console == []
            assert page.requests == [incident]
            assert browser.value(OVERFLOW) <= 0
            assert browser.value(DRAWN) > 20
            # What WCAG asks of texts of any size.
            assert browser.value(CONTRAST) > 4.5
            behind.add((dark, browser.value("getComputedStyle(document.body).backgroundColor")))
    assert len(behind) == 2
    browser.open(incident, width=703, dark=True, media="print")
    assert browser.value("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert browser.value(OVERFLOW) <= 0
    # A traceback that nobody has opened is on paper all the same.
    assert browser.value("document.querySelector('pre').getBoundingClientRect().height") > 50


def test_tables_are_sorted_by_a_click_and_whole_without_a_script(browser, incident):
    page = browser.open(incident, script=False)
    usual = browser.value(FIRST)
    assert usual[0] == "shop.reports.daily"
    assert browser.value("document.querySelectorAll('th button').length") == 0
    browser.open(incident)
    assert browser.value(FIRST) == usual
    click = "[...document.querySelectorAll('#types th')].find(th => th.textContent === '{}')"
    click += ".querySelector('button').click()"
    browser.value(click.format("Completed"))
    assert browser.value(FIRST)[0] == "shop.mail.confirm"
    browser.value(click.format("Completed"))
    assert browser.value(FIRST)[-1] == "shop.mail.confirm"
    browser.value(click.format("Task"))
    assert browser.value(FIRST) == sorted(usual)
    assert page.console == []


def test_nothing_that_is_sent_runs(browser, tmp_path):
    life, bad = Life(), "</td></style></script><script>x=1</script><img src=http://x/ onerror=x=1>"
    events = [*life.failure(bad, bad, exception=f"{bad}()", traceback=bad), life.beat(bad)]
    path = tmp_path / "<script>x=1<"
    path.write_bytes(b"".join(encode_line(each) + b"\n" for each in events))
    address = written(tmp_path, path)
    page = browser.open(address)
    assert browser.value("[typeof x, document.images.length, document.scripts.length]") == [
        "undefined", 0, 1,
    ]  # fmt: skip
    assert browser.value("document.title").endswith("<script>x=1<")
    assert (page.console, page.requests) == ([], [address])
