import pytest

from evtools.transport import EventReceiver, Source
from evtools.transport.recording.reader import RecordingReader
from evtools.transport.source import Statistics
from evtools.wire import Defect


def test_malformed_is_the_sum_of_all_defects():
    defects = (Defect("no type", b"{}", count=3), Defect("no object", b"1", count=4))
    assert Statistics(defects=defects).malformed == 7
    assert Statistics().malformed == 0


@pytest.mark.parametrize("source", [EventReceiver, RecordingReader])
def test_every_source_offers_the_same(source):
    offered = {name for name in vars(Source) if not name.startswith("_")}
    assert offered == {"batches", "events", "statistics", "stop", "close"}
    assert all(callable(getattr(source, name)) for name in offered)
