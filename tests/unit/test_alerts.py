"""[alert.NAME]: what the settings file says, and when an alert fires and resolves."""

import math

import pytest

from evtools.alerts import COUNT_MAX, NAMES_MAX, Alert, parse_rule, take_events
from evtools.errors import ConfigError
from evtools.filters import compile_filter
from evtools.wire import from_fields
from tools.life import Life

PLACE = "/x.toml: alert.own"


def rule(filter_="state:failure", **more):
    return parse_rule("own", PLACE, {"filter": filter_, **more})


@pytest.mark.parametrize(
    ("table", "words", "hint"),
    [
        ({}, "filter: must say what to look for", "filter = "),
        ({"filter": " "}, "filter: must say what to look for", ""),
        ({"filter": 5}, "filter: must be a text on one line", ""),
        ({"filter": "state:filed"}, 'filter: bad filter at column 7: unknown state "filed"', ""),
        ({"filter": "x(", "view": "tasks"}, "filter: bad filter at column", ""),
        ({"filter": "runtme>1m", "view": "tasks"}, "filter: bad filter at column 1: unknown", ""),
        (
            {"filter": "statos:x", "view": "workers"},
            "filter: bad filter at column 1",
            "have cluster",
        ),
        ({"filter": "x", "veiw": "types"}, "veiw: there is no such setting", "did you mean view?"),
        ({"filter": "x", "view": "type"}, 'view: there is no view "type"', "did you mean types?"),
        ({"filter": "x", "view": "overview"}, 'view: there is no view "overview"', ""),
        ({"filter": "x", "view": ["types"]}, "view: must be a text on one line", ""),
        ({"filter": "x", "level": "high"}, 'level: there is no level "high"', "critical, warning"),
        ({"filter": "x", "count": 0}, "count: must be a whole number from 1", ""),
        ({"filter": "x", "count": COUNT_MAX + 1}, "count: must be a whole number", ""),
        ({"filter": "x", "count": True}, "count: must be a whole number", ""),
        ({"filter": "x", "count": 1.5}, "count: must be a whole number", ""),
        ({"filter": "x", "for": "1 minute"}, "for: must be a time of up to 1d00h", 'for = "1m"'),
        ({"filter": "x", "for": "25h"}, "for: must be a time", ""),
        ({"filter": "x", "for": -1}, "for: must be a time", ""),
        ({"filter": "x", "for": math.nan}, "for: must be a time", ""),
        ({"filter": "x", "for": True}, "for: must be a time", ""),
        ({"filter": "x", "window": "2h"}, "window: must be a time of up to 1h00m", ""),
        ({"filter": "x", "window": "all"}, "window: must be a time of up to 1h00m", ""),
        ({"filter": "x", "window": "500ms"}, "window: must be a second at least", ""),
        ({"filter": "x", "view": "types", "window": "2m"}, "window: must be one of 1m, 5m", ""),
        ({"filter": "x", "view": "types", "window": 60}, "window: must be one of 1m, 5m", ""),
        ({"filter": "x", "view": "tasks", "window": "5m"}, "window: tasks have none", "age<5m"),
        ({"filter": "x", "bell": "yes"}, "bell: must be true or false", ""),
        ({"filter": "x", "message": "a\nb"}, "message: must be a text on one line", ""),
    ],
)
def test_a_mistake_is_named_with_file_table_and_key(table, words, hint):
    with pytest.raises(ConfigError) as caught:
        parse_rule("own", PLACE, table)
    assert caught.value.message.startswith(f"{PLACE}.{words}")
    assert hint in caught.value.hint


def alert(**more):
    made = rule(**more)
    return Alert(made, compile_filter(made.filter if made.view == "events" else ""))


def changes(one, looks):
    """Return what became of an alert at each look: (time, matched)."""
    found = (one.look(matched, ["a"] * matched, at) for at, matched in looks)
    return [None if change is None else change.what for change in found]


def test_an_alert_fires_once_holds_and_resolves():
    one = alert()
    assert changes(one, [(1, 0), (2, 1), (3, 1), (4, 5), (5, 0), (6, 0), (7, 1)]) == [
        None, "fired", None, None, "resolved", None, "fired",
    ]  # fmt: skip
    assert one.since == 7


def test_what_must_last_fires_only_when_it_has_and_begins_anew_after_a_gap():
    one = alert(**{"for": "10s", "count": 2})
    assert changes(one, [(1, 2), (9, 2), (10, 1), (11, 2), (20, 2)]) == [None] * 5
    assert changes(one, [(21, 3)]) == ["fired"]
    assert one.since == 11
    one.interrupt()  # it goes on firing
    assert changes(one, [(90, 2)]) == [None]
    assert one.since == 11
    assert changes(one, [(91, 0), (92, 2)]) == ["resolved", None]
    one.interrupt()
    assert changes(one, [(110, 2), (119, 2), (120, 2)]) == [None, None, "fired"]


def test_what_became_of_it_is_a_sentence_with_a_few_names_that_are_fit_to_be_shown():
    one = alert(view="types", filter_="share>5", message="mail fails")
    fired = one.look(9, ["mail.send", "\x1b[2J", "x" * 9999, "d", "e", "f"], 100.0)
    assert fired.text == (
        "alert own fired: mail fails: 9 types, mail.send, \\x1b[2J, " + "x" * 12 + ".."
        + "x" * 26 + ", ..."
    )  # fmt: skip
    assert max(map(len, one.names)) <= 200
    assert len(one.names) == NAMES_MAX + 1
    one.look(1, ["mail.send"], 120.0)
    assert one.found() == "mail.send"
    assert one.look(0, [], 285.0).text == "alert own resolved after 3m05s: mail fails"


def test_events_are_counted_over_a_window_to_the_second():
    one, life, clock = alert(filter_="state:failure name:a.*", window="10s", count=3), Life(), []

    def take(*tasks):
        events = [event for uuid, name in tasks for event in life.failure(uuid, name)]
        take_events([one], map(from_fields, events), known)
        change = one.look_at_events(life.now)
        clock.append(None if change is None else change.what)

    def known(event):
        # What the state would know of it.
        event.known = {"name": "a.x" if event.uuid != "4" else "b.x"}
        return event

    take(("1", "a.x"), ("2", "a.x"))
    take(("4", "b.x"))
    take(("3", "a.x"))
    assert clock == [None, None, "fired"]
    assert (one.matched, one.found()) == (3, "3 events, a.x")
    assert one.look_at_events(life.now + 9) is None
    assert one.look_at_events(life.now + 12).what == "resolved"
    assert one.matched == 0


def test_what_is_kept_of_events_is_bounded_whoever_looks():
    one = alert(filter_="type:task-*", window="1h")
    for number in range(10_000):
        take_events(
            [one],
            [from_fields({"type": "task-sent", "uuid": "x", "name": f"{number}" * 999,
                          "local_received": float(number)})],
            lambda event: event,
        )  # fmt: skip
    assert len(one._seconds) <= 3602
    assert sum(map(len, one._named)) <= 200 * (NAMES_MAX + 1)
    one.look_at_events(10_000.0)
    assert 3600 <= one.matched <= 3601
    assert one.found().startswith("3600 events, 9999")
    assert one.found().endswith(", ...")


def test_settings_are_shown_as_the_file_has_them():
    assert rule(window=90).settings() == {
        "view": "events", "filter": "state:failure", "window": "90s", "count": 1, "for": "0s",
        "bell": True, "level": "critical", "message": "",
    }  # fmt: skip
