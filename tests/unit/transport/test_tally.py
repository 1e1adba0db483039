import pytest

from evtools.transport.tally import Tally
from evtools.wire import Record, gap


def records(*events):
    return [Record(event) for event in events]


def test_events_and_lines_are_counted():
    tally = Tally()
    tally.good = 3
    tally.count(records({"type": "task-sent"}, {"type": "x"}))
    tally.defect("no JSON", b"{" * 1000, "at 1")
    tally.defect("no JSON", b"", "")
    statistics = tally.statistics(connected=True)
    assert (statistics.events, statistics.messages) == (2, 5)
    assert statistics.connected
    [defect] = statistics.defects
    assert (defect.kind, defect.count, len(defect.sample)) == ("no JSON", 2, 200)


def test_gaps_are_counted_by_their_reason():
    tally = Tally()
    tally.count(
        records(
            gap("buffer", 1.0, 2.0, dropped=7),
            gap("worker", 1.0, 1.0, missed=3),
            gap("worker", 1.0, 1.0, missed="many"),
            gap("reconnect", 1.0, 3.5),
            gap("stopped", 1.0, 2.0) | {"duration": "long"},
        )
    )
    statistics = tally.statistics(connected=False)
    assert (statistics.dropped, statistics.missed) == (7, 3)
    assert (statistics.gaps, statistics.gap_seconds) == (2, 2.5)
    assert statistics.events == 0


@pytest.mark.parametrize(
    ("good", "bad", "ended", "strange"),
    [
        (0, 1, True, True),
        (0, 0, True, False),
        (0, 99, False, False),
        (0, 100, False, True),
        (1, 500, True, False),
    ],
)
def test_only_bad_lines_make_a_file_no_recording(good, bad, ended, strange):
    tally = Tally()
    tally.good = good
    for _ in range(bad):
        tally.defect("no JSON", b"x", "")
    assert tally.is_strange(ended=ended) is strange


def test_what_was_wrong_first_is_told():
    tally = Tally()
    tally.defect("no JSON", b"x", "at byte 3")
    tally.defect("no type", b"{}", "")
    assert tally.first_defect() == "no JSON (at byte 3)"
    tally = Tally()
    tally.defect("no type", b"{}", "")
    assert tally.first_defect() == "no type"
