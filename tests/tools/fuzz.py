"""All that evdump does to an event, done to events that nobody should send."""

from __future__ import annotations

import csv
import io
import re
from contextlib import redirect_stderr
from typing import TYPE_CHECKING

import msgspec

from evtools.clock import SystemClock
from evtools.dump.formats import CSV_COLUMNS, FORMATS
from evtools.dump.options import DumpOptions
from evtools.dump.output import Counts, Report
from evtools.filters import all_of, compile_filter, exclude
from evtools.transport import Statistics
from evtools.wire import (
    Codec,
    EnvelopeWriter,
    Joiner,
    LamportClock,
    MissedTasks,
    encode_line,
    envelope,
    from_fields,
    open_envelope,
)
from evtools.wire.redact import redactor
from tools.mutations import mutations

if TYPE_CHECKING:
    from evtools.dump.formats import Formatter
    from evtools.wire import Event, EventFields

#: Something of every kind the filter language has.
FILTERS = (
    "state:bad runtime>2",
    "name:proj. OR any_word",
    "worker:w[1-3]* -type:worker-*",
    'tb~"^Val.*bad$" OR exc!~x{2,}',
    'kwargs:password=hunter OR args:"(2"',
    "lag>1s OR lag<-1s OR wait>500ms OR queue_time:1..2",
    "received:14:00..14:10 OR done:2026-11-20 OR eta>2026-11-20",
    "age<5m OR f.expires:x OR retries:>3 OR clock:-1..",
    "field.percent>5 OR f.order:4711 OR has:eta OR pid!=3",
    "tree:eacdf OR host:x OR queue:mail,default",
)
SECRET = b"hunter2"
RECEIVED = 1795186533.25

_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_TEMPLATE = "{ts} {type:<20} {name:10} {uuid:8}|{args!j}|{runtime:.3f}|{hostname:>9.5}|"


def _formatter(name: str, **options: object) -> Formatter:
    return FORMATS[name](DumpOptions(timestamps="utc", **options))


class Fuzz:
    """Feed mutated messages through everything and see that nothing gives way."""

    def __init__(self) -> None:
        self.codec = Codec()
        self.events = 0
        #: What the messages had wrong with them, as they say themselves.
        self.injected = 0
        self._redact = redactor(["password", "/[Hh]unter2/"])
        self._joiner = Joiner(max_tasks=1000, max_bytes=4 << 20)
        self._unseen = Joiner(max_tasks=1000, max_bytes=4 << 20)
        self._writer = EnvelopeWriter()
        self._missed = MissedTasks()
        self._clock = LamportClock()
        every = [compile_filter(text, now=lambda: 1.8e9) for text in FILTERS]
        self._filter = all_of(*every[:1], exclude(every[1:]))
        self._filters = [*every, self._filter]
        self._always = {name: _formatter(name) for name in ("json", "text")}
        self._sometimes = {
            "csv": _formatter("csv"),
            "logfmt": _formatter("logfmt"),
            "raw": _formatter("raw"),
            "template": _formatter("template", template=_TEMPLATE),
            "text -q": _formatter("text", quiet=True),
            "text -vv": _formatter("text", verbosity=2, colour=True),
            "text --full": _formatter("text", full=True, verbosity=1),
            "text marked": _formatter("text", colour=True, highlight="a|$"),
            "text below": _formatter("text", verbosity=2, multiline=True),
            "pretty": _formatter("pretty", colour=True),
            "pretty --full": _formatter("pretty", full=True),
        }

    def run(self, *, seed: int, count: int) -> None:
        """Feed as many messages."""
        for message, events, defects in mutations(seed, count):
            decoded = self.codec.events(message)
            self.injected += defects
            assert len(decoded) == events, message
            for event in decoded:
                self._pass_through(event)
                self._take(event.as_dict())
        self._report()

    def _pass_through(self, event: Event) -> None:
        """See that an event that nobody looks into is written all the same."""
        event.stamp(RECEIVED)
        self._unseen.join([event])
        line = self._writer.line(event)
        assert line == encode_line(envelope(event.as_dict(), event.joined))

    def _take(self, fields: EventFields) -> None:
        self.events += 1
        clock = fields.get("clock")
        if type(clock) is int:
            self._clock.adjust(clock)
        self._redact(fields)
        event = from_fields(fields)
        assert event.as_dict() == fields
        self._missed.observe(event)
        self._joiner.join([event])
        for each in self._filters:
            each.matches(event)
        for name, formatter in self._always.items():
            self._check(name, formatter.format(event))
        if self.events % 10 == 0:
            for name, formatter in self._sometimes.items():
                self._check(name, formatter.format(event))
            self._read_back(event)

    def _check(self, name: str, line: bytes) -> None:
        assert SECRET not in line, name
        text = line.decode()
        assert text.endswith("\n"), name
        if name.startswith(("pretty", "text below")):
            lines = text.rstrip("\n").split("\n")
        else:
            lines = [text[:-1]]
        for each in lines:
            bare = _COLOURS.sub("", each) if "\x1b" in each else each
            assert bare.isprintable(), (name, line)

    def _read_back(self, event: Event) -> None:
        """See that the formats for programs say what the event says."""
        line = self._always["json"].format(event)
        fields, joined = open_envelope(msgspec.json.decode(line))
        assert fields == event.as_dict()
        assert joined == event.joined
        raw = self._sometimes["raw"].format(event)
        assert msgspec.json.decode(raw) == event.as_dict()
        cells = self._sometimes["csv"].format(event).decode()
        (row,) = csv.reader(io.StringIO(cells))
        assert len(row) == len(CSV_COLUMNS)

    def _report(self) -> None:
        """Say on stderr what evdump would say."""
        stream = io.StringIO()
        defects = tuple(self.codec.defects.values())
        assert sum(each.count for each in defects) == self.injected
        statistics = Statistics(missed=self._missed.total, defects=defects)
        for stats in ("text", "json"):
            with redirect_stderr(stream):
                report = Report(DumpOptions(stats=stats), SystemClock())
            for _ in range(2):
                report.defects(statistics)
            counts = Counts(captured=self.events, missed=self._missed.total)
            report.summary(counts, statistics, 1.0)
        assert stream.getvalue().count(": left out: ") == 2 * len(defects)
        notes = [note for each in self._filters for note in each.unknown()]
        for line in [*stream.getvalue().splitlines(), *notes]:
            assert line.isprintable(), line
            assert len(line) < 2000
