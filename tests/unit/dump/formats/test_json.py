"""JSON Lines."""

import json

from evtools.dump.formats.json import make
from evtools.dump.formatter import FormatOptions
from evtools.wire import Record


def test_a_record_is_its_envelope():
    formatter = make(FormatOptions())
    line = formatter.format(Record({"type": "task-failed"}, {"name": "proj.boom"}))
    assert line.endswith(b"\n")
    assert json.loads(line) == {
        "v": 1,
        "type": "task-failed",
        "name": "proj.boom",
        "joined": ["name"],
    }
    assert formatter.header() == b""
