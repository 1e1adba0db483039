"""Recordings, the pages about them, and what stands on those."""

from __future__ import annotations

import gc
from html.parser import HTMLParser

import pytest

from evtools.cli.main import main
from evtools.wire import encode_line
from tools.life import Life

_VOID = {"meta", "br", "wbr"}


class Page(HTMLParser):
    """A page: its elements, its text without style and script, and the rows of its tables."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.html = html
        self.elements: set[str] = set()
        self.attributes: dict[str, list[str]] = {}
        self.tables: dict[str, list[list[str]]] = {}
        self.problems: list[str] = []
        self._open: list[str] = []
        self._parts: list[str] = []
        self._table: list[list[str]] = []
        self.feed(html)
        self.close()
        self.problems += [f"<{name}> is not closed" for name in self._open]
        self.text = " ".join("".join(self._parts).split())

    def handle_starttag(self, tag, attrs):
        self.elements.add(tag)
        if tag != "wbr":
            self._parts.append(" ")
        for name, value in attrs:
            self.attributes.setdefault(name, []).append(value or "")
        if tag == "div" and ("role", "region") in attrs:
            self._table = self.tables.setdefault(dict(attrs)["aria-label"], [])
        elif tag == "tr":
            self._table.append([])
        elif tag in ("td", "th"):
            self._table[-1].append("")
        if tag not in _VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in _VOID:
            self._open.pop()

    def handle_endtag(self, tag):
        self._parts.append(" ")
        if not self._open or self._open.pop() != tag:
            self.problems.append(f"</{tag}> closes nothing")

    def handle_data(self, data):
        if self._open and self._open[-1] in ("style", "script"):
            return
        self._parts.append(data)
        if {"td", "th"} & set(self._open):
            self._table[-1][-1] += data


@pytest.fixture
def parse():
    return Page


@pytest.fixture
def life():
    return Life()


@pytest.fixture
def record(tmp_path):
    """Write a recording; return its path."""

    def write(events, name="day.jsonl"):
        path = tmp_path / name
        path.write_bytes(b"".join(encode_line(each) + b"\n" for each in events))
        return str(path)

    return write


@pytest.fixture
def report(tmp_path, capfd, monkeypatch):
    """Run the command; return its exit status, the page if there is one, and what it says."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_DIRS", str(tmp_path / "system"))
    monkeypatch.setenv("TZ", "UTC")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(gc, "freeze", lambda: None)
    monkeypatch.setattr(gc, "set_threshold", lambda *_: None)

    def run(*arguments, output="report.html"):
        status = main(["evtools", "report", *arguments, *(("-o", output) if output else ())])
        out, err = capfd.readouterr()
        path = tmp_path / output if output not in ("", "-") else None
        html = out if path is None else path.read_text() if path.is_file() else ""
        page = Page(html) if html.startswith("<!DOCTYPE") else None
        if page is not None:
            assert page.problems == []
        return status, page, err

    return run
