import json
import logging
import os
import socket

import pytest

from evtools.state import State
from evtools.top import audit
from evtools.top.outcome import Outcome, Reply
from evtools.top.request import prepare
from tools.clock import FakeClock


@pytest.fixture
def line(caplog):
    """Return the one line that was logged, taken apart."""

    def read():
        [record] = caplog.records
        assert record.levelno == logging.INFO
        word, _, facts = record.getMessage().partition(" ")
        assert word == "audit"
        assert "\n" not in facts
        return json.loads(facts)

    return read


def outcome(error=""):
    request = prepare(
        State(clock=FakeClock()), "rate-limit", ["a.\n\x1b", "b"], now=100.0
    ).answered({"rate_limit": "10/m"})
    replies = (
        Reply("w1@h", "b", "new rate limit set", failed=False),
        Reply("w2@h", "b", "unknown task", failed=True),
    )
    return Outcome(request, () if error else replies, 3, 0.51239, error)


def test_a_request_leaves_one_line_that_says_all(line):
    audit.record(outcome())
    assert line() == {
        "who": f"{audit.user()}@{socket.gethostname()}",
        "action": "rate-limit",
        "targets": ["a.\n\x1b", "b"],
        "arguments": {"rate_limit": "10/m"},
        "outcome": "2 replied",
        "expected": 3,
        "seconds": 0.512,
        "replies": {"w1@h": "new rate limit set", "w2@h": "error: unknown task"},
    }


def test_what_could_not_be_sent_is_on_record_as_well(line):
    audit.record(outcome("cannot reach it"))
    assert line()["outcome"] == "cannot reach it"


@pytest.fixture
def terse():
    """Log errors only."""
    root = logging.getLogger()
    before = root.level
    root.setLevel(logging.ERROR)
    yield
    root.setLevel(before)


@pytest.mark.usefixtures("terse")
def test_it_is_written_however_little_is_logged_otherwise(line):
    audit.record(outcome())
    assert line()["action"] == "rate-limit"


def test_a_user_without_a_name_is_a_number(monkeypatch):
    def nameless():
        raise KeyError(4711)

    monkeypatch.setattr(audit.getpass, "getuser", nameless)
    assert audit.user() == str(os.getuid())
