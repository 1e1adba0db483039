"""Events as they came."""

from evtools.dump.formats.raw import make
from evtools.dump.formatter import FormatOptions
from evtools.wire import Record


def test_a_record_is_the_event_alone():
    formatter = make(FormatOptions())
    record = Record({"pid": 1, "type": "task-failed"}, {"name": "proj.boom"})
    assert formatter.format(record) == b'{"type":"task-failed","pid":1}\n'
    assert formatter.header() == b""
