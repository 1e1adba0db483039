import pytest

from evtools.top.options import Check
from evtools.top.verdict import STATUSES, Sighting, Verdict, judge, line

CHECK = Check(workers=("w@h",))
CONSUMING = Check(workers=("w@h",), queues=("mail", "img"))
ALIVE = "w@h is alive, heartbeat 500ms ago"
BUSY = Check(workers=("w@h",), max_idle=60.0)


def seen(**what):
    return Sighting("w@h", **{"looked": 61.0, "age": 0.5, "answers": True, **what})


def only(check, **what):
    [verdict] = judge(check, [seen(**what)], patience=10.0)
    return verdict.level, verdict.text


@pytest.mark.parametrize(
    ("check", "what", "level", "text"),
    [
        (CHECK, {}, "OK", ALIVE),
        (CHECK, {"answers": None}, "OK", ALIVE),
        (CHECK, {"stopped": True}, "CRITICAL", "w@h has shut down"),
        (
            CHECK,
            {"age": None, "answers": False},
            "CRITICAL",
            "w@h sent no heartbeat in 10.0s and does not answer",
        ),
        (CHECK, {"age": 10.1, "answers": None}, "CRITICAL", "w@h sent no heartbeat in 10.0s"),
        (CHECK, {"age": None}, "WARNING", "w@h answers, but sent no heartbeat in 10.0s"),
        (CHECK, {"answers": False}, "WARNING", "w@h sends heartbeats, but does not answer"),
        (CONSUMING, {"queues": ("img", "mail", "x")}, "OK", f"{ALIVE}, consumes mail img"),
        (CONSUMING, {"queues": ("mail",)}, "CRITICAL", "w@h does not consume img"),
        (
            CONSUMING,
            {"answers": None},
            "UNKNOWN",
            "w@h was not asked what it consumes: --read-only",
        ),
        (BUSY, {"done": 1}, "OK", f"{ALIVE}, 1 task in 1m01s"),
        (BUSY, {"done": 7}, "OK", f"{ALIVE}, 7 tasks in 1m01s"),
        (BUSY, {"done": 0}, "CRITICAL", "w@h has processed no task in 1m01s"),
        (BUSY, {"done": None}, "UNKNOWN", "w@h did not tell in 1m01s what it has processed"),
    ],
)
def test_a_worker_is_judged_by_what_was_seen(check, what, level, text):
    assert only(check, **what) == (level, text)


def test_who_is_silent_is_not_called_idle_as_well():
    assert only(BUSY, age=None, answers=False)[0] == "CRITICAL"


def test_the_worst_comes_first_and_all_is_told():
    other = Sighting("w2@h", 5.0, stopped=True)
    verdicts = judge(CONSUMING, [seen(queues=()), other], patience=10.0)
    assert [verdict.level for verdict in verdicts] == ["CRITICAL"] * 3
    verdicts = judge(CHECK, [seen(), other], patience=10.0)
    assert [verdict.level for verdict in verdicts] == ["CRITICAL", "OK"]


def test_the_line_is_what_nagios_reads():
    sighting = seen(processed=42, active=3, queues=("mail", "img"))
    text = line([Verdict("OK", "w@h is alive"), Verdict("OK", "x")], [sighting], 10.0)
    assert text == (
        "OK - w@h is alive; x | 'w@h heartbeat_age'=0.500s;;10;0"
        " 'w@h processed'=42c 'w@h active'=3;;;0"
    )


def test_without_figures_there_is_no_bar():
    assert line([Verdict("UNKNOWN", "a|b")], [], 10.0) == "UNKNOWN - a/b"
    assert line([Verdict("CRITICAL", "x")], [seen(age=None)], 1.0) == "CRITICAL - x"


def test_a_strange_name_does_not_break_the_line():
    name = "w|'=\x1b[2J@h"
    sighting = Sighting(name, 1.0, age=0.0)
    verdicts = judge(Check(workers=(name,)), [sighting], patience=1.0)
    text = line(verdicts, [sighting], 1.0)
    assert text.count("|") == 1
    assert "'w/''_\\x1b[2J@h heartbeat_age'=0.000s" in text


def test_the_statuses_are_those_of_nagios():
    assert STATUSES == {"OK": 0, "WARNING": 1, "CRITICAL": 2, "UNKNOWN": 3}
