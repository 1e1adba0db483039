"""Tests for evtools.top.detail."""

import json

from evtools.top import detail
from evtools.top.detail import Detail, labelled, paragraph, raw


def test_what_is_known_has_a_label():
    pairs = [("queue", "mail"), ("eta", None), ("name", "a\x1bb")]
    assert labelled(pairs) == ("queue         mail", "name          a\\x1bb")


def test_a_text_keeps_its_lines_and_nothing_else():
    assert paragraph("a\r\n\tb\n\x1b[0m\n") == ("a", "        b", "\\x1b[0m")
    assert paragraph("") == ("",)


def test_a_huge_text_is_cut_and_says_so(monkeypatch):
    monkeypatch.setattr(detail, "_TEXT_MAX_CHARS", 3)
    assert paragraph("abcdef") == ("abc", "(cut: 6 characters)")


def test_raw_fields_are_json():
    fields = {"a": 1, "b\x1b": [None, "\u202e"]}
    lines = raw(fields)
    assert json.loads("\n".join(lines)) == fields
    assert all(line.isprintable() for line in lines)
    assert raw({}) == ("{", "}")


def test_a_detail_begins_with_what_is_known():
    assert Detail("title").section == "Info"
    assert Detail("title").sections == {}
