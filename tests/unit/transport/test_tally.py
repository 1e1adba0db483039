from evtools.transport.tally import Tally
from tools.gaps import gap
from tools.typed import event_of


def records(*events):
    return [event_of(event) for event in events]


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
