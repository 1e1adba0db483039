"""Events as nobody should send them, and whether they are events all the same."""

from __future__ import annotations

import base64
import json
import pickle
import random
import zlib
from typing import TYPE_CHECKING, Any, NamedTuple

from evtools.wire import ENVELOPE, GAP, Message

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Event = dict[str, Any]


class Mutation(NamedTuple):
    """A message, how many events are in it, and how many things that are none."""

    message: Message
    events: int
    defects: int


# --- what Celery sends -----------------------------------------------------------

_UUID = "eacdf44c-6aa4-4bb2-8c0e-0d2f1fe1a1ef"
_FROM: Event = {
    "hostname": "celery@worker1",
    "utcoffset": -1,
    "pid": 31054,
    "clock": 40,
    "timestamp": 1795186532.103655,
}
_TASK: Event = {
    "name": "proj.tasks.add",
    "args": "(2, 'two')",
    "kwargs": "{'currency': 'EUR', 'password': 'hunter2'}",
    "root_id": _UUID,
    "parent_id": None,
    "retries": 0,
    "eta": None,
    "expires": "2026-11-21T14:56:32.103655+00:00",
}
_WORKER: Event = {
    "freq": 2.0,
    "active": 1,
    "processed": 12,
    "loadavg": [0.5, 0.25, 0.12],
    "sw_ident": "py-celery",
    "sw_ver": "5.7.0",
    "sw_sys": "Linux",
}
_ERROR: Event = {
    "exception": "ValueError('bad\\nthing')",
    "traceback": 'Traceback (most recent call last):\n  File "x.py"\nValueError: bad\n',
}
_EXTRA: dict[str, Event] = {
    "task-sent": {
        **_TASK,
        "queue": "mail",
        "exchange": "",
        "routing_key": "mail",
        "hostname": "gen41@shop",
    },
    "task-received": _TASK,
    "task-started": {},
    "task-succeeded": {"result": "4", "runtime": 0.51},
    "task-failed": _ERROR,
    "task-retried": _ERROR,
    "task-revoked": {"terminated": True, "signum": 15, "expired": False},
    "task-rejected": {"requeue": False},
    "task-cancelled": {},
    "task-progress": {"percent": 12.5},
    "worker-online": _WORKER,
    "worker-heartbeat": _WORKER,
    "worker-offline": _WORKER,
    "worker-elect": {"id": _UUID, "topic": "t", "action": "a", "cver": 1},
    "worker-elect-ack": {"id": _UUID},
    "shop-order-paid": {"order": 4711, "lines": [{"sku": "x", "count": 2}]},
}

#: An event of every type, with the fields it really has.
SHAPES: tuple[Event, ...] = tuple(
    {**_FROM, **({"uuid": _UUID} if kind.startswith("task") else {}), **extra} | {"type": kind}
    for kind, extra in _EXTRA.items()
)

# --- what others send ------------------------------------------------------------

_NAUGHTY = (
    *("", " ", "\0", "\n", "\r\n", "\t", "\x1b[2J\x1b]0;pwned\x07", "\x9b31m", "\x7f"),
    *("\u202eevil", "\u2028", "\u2029", "\u200b\u2060", "\ufeff", "\ud800", "\udfff"),
    *("a\u0301" * 50, "\u4e2d\u6587" * 30, "\U0001f600", "[red]markup[/]", "%s%n{0}"),
    *("'", '"', "\\", "\\'", "{'password': 'x", "=cmd|' /C calc'!A0", "<b>", "null"),
    *("NaN", "1e5", "-1", "0x10", "2026-13-45T99:99:99", "0001-01-01T00:00:00+23:59"),
    *("9999-12-31T23:59:59-23:59", "9" * 400, "x" * 3000, "a\n" * 300, "(" * 500),
)
_NUMBERS = (
    *(0, -1, 1, True, False, 2**31, 2**53, 2**63, 2**64, -(2**64), 10**30, 10**400),
    *(10**4299, -(10**4299), 0.1, -0.0, 5e-324, 1.8e308, -1.8e308, 1e15, 253402300800),
    *(-62135596801, float("nan"), float("inf"), float("-inf")),
)
_NESTED: tuple[Any, ...] = (
    *(None, [], {}, [[]], [{}], {"": {}}, {"type": "task-sent"}, [[[[[1]]]]]),
    *([None] * 50, {"a": {"b": {"c": [1, {"d": "\x1b"}]}}}, {"\x1b[1m": "\u202e"}),
    *({"__type__": "base64", "__value__": "/w=="}, {"__type__": []}, [1, "a", None]),
    *(["x" * 500] * 10, {str(number): number for number in range(100)}),
)
VALUES: tuple[Any, ...] = (*_NAUGHTY, *_NUMBERS, *_NESTED)

_NAMES = (
    *("v", "ts", "lag", "joined", "own", "local_received", "sent", "received"),
    *("started", "queue", "name", "fields", "field.x", "", " ", "a b", "a=b", "=a"),
    *("\x1b[31m", "\n", "\u202e", "\ud800", "\u4e2d", '"', "{", "x" * 500, "uuid"),
)
#: As JSON text, for what json.dumps does not write.
_RAW = ("9" * 5000, "-" + "9" * 5000, "1e400", "-1e400", "1E+999", '"\\ud83d"')
_PLACE = "@here@"
_NO_TYPES: tuple[Any, ...] = (
    *(None, "", 1, -1.5, True, [], {}, ["task-sent"], {"a": 1}, 10**4000, GAP),
    *(float("nan"), float("inf")),
)
_NO_EVENTS: tuple[Any, ...] = (None, 1, "task-sent", [], True, 1.5, [{"type": "a"}])


class _Mutator:
    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._uuids = [f"{number:08x}{_UUID[8:]}" for number in range(2000)]
        self._number = 0

    # -- events

    def event(self) -> Event:
        """Return an event with some things wrong, but an event."""
        pick, chance = self._random.choice, self._random.random
        self._number += 1
        event = dict(pick(SHAPES))
        event["timestamp"] += self._number / 1000
        if "uuid" in event:
            event["uuid"] = pick(self._uuids)
        if chance() < 0.2:
            return event
        for _ in range(pick((1, 1, 1, 2, 5))):
            self._worsen(event)
        return event

    def _worsen(self, event: Event) -> None:
        pick = self._random.choice
        what = self._random.randrange(5)
        name = pick(list(event))
        if what == 0 and name != "type":
            del event[name]
        elif what == 1:
            event[pick(_NAMES)] = pick(VALUES)
        elif what == 2:
            event[pick(("clock", "pid", "processed", "timestamp"))] = pick(_NUMBERS)
        elif name != "type":
            event[name] = pick(VALUES)
        else:
            naughty = pick(_NAUGHTY)
            event["type"] = pick((f"task-{naughty}", f"a.{naughty}", naughty or "x"))

    def no_event(self) -> Any:
        """Return what a batch may hold and is no event."""
        pick = self._random.choice
        event = self.event()
        what = self._random.randrange(4)
        if what == 0:
            del event["type"]
        elif what == 1:
            event["type"] = pick(_NO_TYPES)
        elif what == 2:
            return {"event": event}
        else:
            return pick(_NO_EVENTS)
        return event

    # -- bodies

    def batch(self) -> tuple[Any, int, int]:
        """Return a body, how many events are in it, and how many are none."""
        chance = self._random.random()
        if chance < 0.8:
            return self.event(), 1, 0
        if chance < 0.9:
            bad = self.no_event()
            # A list is a batch of what is in it.
            if isinstance(bad, list):
                return (bad, 0, 0) if not bad else (bad, 1, 0)
            return bad, 0, 1
        good = [self.event() for _ in range(self._random.randrange(5))]
        bad = [self.no_event() for _ in range(self._random.randrange(3))]
        items = good + bad
        self._random.shuffle(items)
        return items, len(good), len(bad)

    def text(self, value: Any) -> str:
        """Return JSON as Python writes it, and sometimes as nobody should."""
        chance = self._random.random()
        if chance < 0.05 and isinstance(value, dict):
            value = {**value, "odd": _PLACE}
            text = json.dumps(value)
            return text.replace(f'"{_PLACE}"', self._random.choice(_RAW))
        return json.dumps(value, ensure_ascii=chance < 0.6)

    # -- messages

    def mutation(self) -> Mutation:
        """Return a message."""
        value, events, defects = self.batch()
        text = self.text(value)
        chance = self._random.random()
        if chance < 0.05:
            return Mutation(self._broken(text), 0, 1)
        body = text.encode("utf-8", "surrogatepass")
        message = Message(body)
        if chance < 0.08:
            message = Message(zlib.compress(body), compression="application/x-gzip")
        elif chance < 0.11:
            charset = self._random.choice(("utf-16", "utf-32-le", "UTF-8", ""))
            body = text.encode(charset or "utf-8", "replace")
            message = Message(body, content_encoding=charset)
        if self._random.random() < 0.4:
            message = self._wrapped(message)
        return Mutation(message, events, defects)

    def _wrapped(self, message: Message) -> Message:
        envelope = {
            "body": base64.b64encode(message.body).decode(),
            "content-type": message.content_type,
            "content-encoding": message.content_encoding,
            "headers": {"hostname": "celery@vm", "compression": message.compression},
            "properties": {"body_encoding": "base64", "priority": 0},
        }
        if self._random.random() < 0.1:
            envelope["headers"]["odd"] = self._random.choice(VALUES)
        return Message(json.dumps(envelope).encode(), ENVELOPE)

    def _broken(self, text: str) -> Message:
        pick = self._random.choice
        body = text.encode("utf-8", "surrogatepass")
        return pick(_BREAKS)(body, self._random)


def _cut(body: bytes, rng: random.Random) -> Message:
    return Message(body[: rng.randrange(len(body))])


#: Each makes a message of a body of which nothing can be read.
_BREAKS: tuple[Callable[[bytes, random.Random], Message], ...] = (
    _cut,
    lambda body, _: Message(b'{"of": "caf\xe9", "event": ' + body + b"}"),
    lambda body, _: Message(body, "application/x-python-serialize"),
    lambda body, _: Message(body, "application/x-klingon"),
    lambda body, _: Message(body, None),
    lambda body, _: Message(body, content_encoding="x-klingon"),
    lambda body, _: Message(body, content_encoding="rot13"),
    lambda body, _: Message(b"\xff" + body, content_encoding="utf-32-le"),
    lambda body, _: Message(body, compression="x-klingon"),
    lambda body, _: Message(body, compression="zstd"),
    lambda body, _: Message(zlib.compress(body)[:-5], compression="zlib"),
    lambda body, _: Message(body, "application/x-msgpack"),
    lambda body, _: Message(body.replace(b'"', b"'") + b"!", ENVELOPE),
    lambda body, _: Message(b'{"x": ' + b"[" * 200 + b"]" * 200 + b"}"),
    lambda body, _: Message(b"[" * 3000 + b"NaN" + b"]" * 3001),
    lambda _body, rng: Message(b"\xfe" + rng.randbytes(30)),
)


def mutations(seed: int, count: int) -> Iterator[Mutation]:
    """Yield `count` messages, the same ones for the same seed."""
    mutator = _Mutator(seed)
    for _ in range(count):
        yield mutator.mutation()


# --- what takes for ever, or all memory, if it is not stopped -----------------------

_YAML, _MSGPACK = "application/x-yaml", "application/x-msgpack"
_PICKLE = "application/x-python-serialize"


def _laughs(depth: int) -> list[Any]:
    laugh: list[Any] = ["ha"] * 10
    for _ in range(depth):
        laugh = [laugh] * 10
    return laugh


def _bomb(levels: int) -> bytes:
    """Pickle a tuple of two tuples of two ..., each named twice."""
    steps = (b"q%ch%c\x86" % (level, level) for level in range(levels))
    return b")" + b"".join(steps)


def _pickled(value: bytes) -> Message:
    """Return a pickle of an event that has `value`, in opcodes, for a field."""
    return Message(b"\x80\x02}(U\x04typeU\x01aU\x01x" + value + b"u.", _PICKLE)


def _objects(made_by: bytes, argument: bytes) -> Message:
    """Return a pickle of a long list of calls that share their only argument."""
    calls = b"h\xf1h\xf2\x85R" * 20_000
    return _pickled(b"]q\xf0" + made_by + b"q\xf10" + argument + b"q\xf20(" + calls + b"e")


def _circle() -> list[Any]:
    circle: list[Any] = []
    circle.append(circle)
    return circle


#: Messages by what is special about them.
HARD_BODIES: dict[str, Message] = {
    "unclosed string of escaped quotes": Message(b"[" * 200 + b'"' + b'\\"' * 1_000_000),
    "backslashes": Message(b'["' + b"\\" * 2_000_001),
    "opening brackets": Message(b"[" * 2_000_000),
    "nested objects": Message(b'{"a":' * 1_000_000 + b"1" + b"}" * 1_000_000),
    "a million empty lists": Message(b"[" + b"[]," * 1_000_000 + b"[]]"),
    "deep behind NaN": Message(b"[NaN," + b"[" * 500_000 + b"]" * 500_000 + b"]"),
    "long number": Message(b'{"type": "a", "x": ' + b"9" * 1_000_000 + b"}"),
    "long fraction": Message(b'{"type": "a", "x": 0.' + b"9" * 1_000_000 + b"}"),
    "long exponent": Message(b'{"type": "a", "x": 1e' + b"9" * 100_000 + b"}"),
    "long type": Message(b'{"type": "' + b"-" * 1_000_000 + b'"}'),
    "same key": Message(b"{" + b'"a":1,' * 300_000 + b'"type":"a"}'),
    "deep envelope": Message(
        b'{"body":"","headers":' + b'{"a":' * 100_000 + b"}" * 100_001, ENVELOPE
    ),
    "YAML of aliases": Message(b"a: &a [1, 2]\ntype: [*a, *a]", _YAML),
    "YAML too long": Message(b"type: a\nx: [" + b"1, " * 1_000_000 + b"]", _YAML),
    "YAML of brackets": Message(b"[" * 200_000, _YAML),
    "YAML of dashes": Message(b"- " * 100_000, _YAML),
    "YAML of question marks": Message(b"? " * 100_000, _YAML),
    "YAML of laughs": Message(
        b"type: a\nx0: &x0 [ha]\n"
        + b"".join(
            b"x%d: &x%d [%s]\n" % (level, level, b",".join([b"*x%d" % (level - 1)] * 10))
            for level in range(1, 60)
        ),
        _YAML,
    ),
    "YAML in a circle": Message(b"type: a\nx: &x [*x, *x]", _YAML),
    "YAML sexagesimal": Message(b"type: a\nx: 1" + b":1" * 40_000, _YAML),
    "YAML hexadecimal": Message(b"type: a\nx: 0x" + b"f" * 200_000, _YAML),
    "YAML empty integer": Message(b'type: a\nx: !!int ""', _YAML),
    "YAML odd boolean": Message(b"type: a\nx: !!bool maybe", _YAML),
    "YAML odd timestamp": Message(b"type: a\nx: !!timestamp soon", _YAML),
    "YAML calling": Message(b"!!python/object/apply:os.system [false]", _YAML),
    "msgpack huge array": Message(b"\xdd\xff\xff\xff\xff", _MSGPACK),
    "msgpack huge arrays": Message(b"\xdd\x07\xff\xff\xff" * 5000, _MSGPACK),
    "msgpack huge map": Message(b"\xdf\xff\xff\xff\xff", _MSGPACK),
    "msgpack huge binary": Message(b"\xc6\xff\xff\xff\xff", _MSGPACK),
    "msgpack nested": Message(b"\x91" * 1_000_000, _MSGPACK),
    "msgpack too many values": Message(
        b"\x82\xa4type\xa1a\xa1x\xdd" + b"\x00\xff\xff\xff" + b"\x01" * 0xFFFFFF, _MSGPACK
    ),
    "msgpack odd key": Message(b"\x81\x80\x01", _MSGPACK),
    "pickle of laughs": Message(pickle.dumps({"type": "a", "x": _laughs(20)}), _PICKLE),
    "pickle of long strings": Message(
        pickle.dumps({"type": "a", "x": ["x" * 100_000] * 50_000}), _PICKLE
    ),
    "pickle hashing": Message(b"\x80\x02}(" + _bomb(40) + b"K\x01u.", _PICKLE),
    "pickle hashing in a field": _pickled(b"}(" + _bomb(40) + b"K\x01u"),
    "pickle hashing a set": _pickled(b"c__builtin__\nset\n](" + _bomb(40) + b"e\x85R"),
    "pickle too deep": _pickled(b"]" * 100_000 + b"a" * 99_999),
    "pickle of decimals": _objects(b"cdecimal\nDecimal\n", b"X\xa0\x86\x01\x00" + b"9" * 100_000),
    "pickle of encoded texts": _objects(
        b"c_codecs\nencode\n", b"X\xa0\x86\x01\x00" + b"9" * 100_000
    ),
    "pickle of sets": _objects(b"c__builtin__\nset\n", b"](" + b"K\x01" * 40_000 + b"e"),
    "pickle of time zones in time zones": _pickled(
        b"cdatetime\ntimezone\nq\x00)Rq\x01" + b"0h\x00h\x01\x85Rq\x01" * 25_000
    ),
    "pickle of equal hashes": _pickled(
        b"}("
        + b"".join(
            b"\x8a\x0a" + (number * (2**61 - 1)).to_bytes(10, "little") + b"N"
            for number in range(18_000)
        )
        + b"u"
    ),
    "pickle in a circle": Message(pickle.dumps([_circle(), _circle()]), _PICKLE),
    "pickle too long": Message(pickle.dumps([1] * 1_000_000), _PICKLE),
    "pickle with a hole": Message(b"\x80\x02}r\xff\xff\xff\x7f.", _PICKLE),
    "pickle promising bytes": Message(
        b"\x80\x05\x96" + (1 << 40).to_bytes(8, "little") + b"x.", _PICKLE
    ),
    "pickle long integer": Message(pickle.dumps({"type": 1 << 1_000_000}), _PICKLE),
    "pickle calling": Message(b"cos\nsystem\n(S'exit 1'\ntR.", _PICKLE),
}
