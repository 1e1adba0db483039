import io
import sys

import pytest

from evtools.cli.filter_words import filter_of
from evtools.errors import UsageError


def test_words_are_joined_by_blanks():
    assert filter_of(["state:failure", "runtime>2"]) == "state:failure runtime>2"
    assert filter_of([]) == ""


def test_a_broker_is_no_filter_and_its_password_is_not_shown():
    with pytest.raises(UsageError, match="looks like a broker URL") as caught:
        filter_of(["redis://:s3kr1t@h/0"])
    assert "s3kr1t" not in str(caught.value)


def test_a_url_in_a_filter_is_one():
    assert filter_of(["args:x", "http://h"]) == "args:x http://h"


def test_what_the_shell_has_taken_is_missed(tmp_path, monkeypatch):
    with (tmp_path / "2").open("w") as file:
        monkeypatch.setattr(sys, "stdout", file)
        with pytest.raises(UsageError, match="the filter is just 'runtime'"):
            filter_of(["runtime"])


def test_into_a_pipe_a_field_may_be_a_word(monkeypatch):
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    assert filter_of(["runtime"]) == "runtime"
