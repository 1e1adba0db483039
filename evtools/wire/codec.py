"""Message bodies to events, and what is wrong with them; fields that senders add are learned."""

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from encodings.aliases import aliases
from functools import reduce
from math import isfinite
from operator import or_
from typing import Any, Final, Literal, NamedTuple

import msgspec
from msgspec import UNSET

from evtools.errors import DecodeError
from evtools.wire.events import (
    COMMON,
    GAP,
    OWN_FIELDS,
    Event,
    EventFields,
    group_from,
    make_class,
    tidied,
)
from evtools.wire.serializers import (
    BROKEN_JSON,
    MSGPACK_MAX_BYTES,
    READERS,
    decode_json,
    decompress,
    is_deep,
    read_json,
)
from evtools.wire.values import DEPTH_MAX, Lost, Pairs, fields_of, plain

#: What a message may weigh in bytes, as sent and unpacked.  Celery's own
#: events stay below 10 kB; this leaves room for odd custom ones.
MESSAGE_MAX_BYTES: Final = 16 * 1024 * 1024

#: The content type we give what kombu's virtual transports put on the wire:
#: a JSON envelope around a body.
ENVELOPE: Final = "application/x-kombu-envelope"

_JSON: Final = "application/json"
_MSGPACK: Final = "application/x-msgpack"
_SCALARS: Final = frozenset({str, bool, int, float, type(None)})
#: The first bytes of lists in msgpack.
_LISTS: Final = frozenset(bytes([first]) for first in (*range(0x90, 0xA0), 0xDC, 0xDD))

#: Encodings that need no work; kombu leaves what is "binary" to the decoder.
_UTF8: Final = frozenset({None, "", "utf-8", "UTF-8", "utf8", "us-ascii", "binary"})
#: Python's names of charsets by all their aliases.  Others are not looked up,
#: because Python remembers every name it was asked for.
_CHARSETS: Final = {name: name for name in aliases.values()} | aliases

#: How much of a hostile text is kept, in characters or bytes.
_SAMPLE_MAX: Final = 200
_DETAIL_MAX: Final = 200
_NAME_MAX: Final = 64


class Message(NamedTuple):
    """A message as it came from the broker; nothing in it is trusted."""

    body: bytes
    content_type: str | None = _JSON
    content_encoding: str | None = "utf-8"
    compression: str | None = None


@dataclass(slots=True)
class Defect:
    """One kind of ill-formed input: how often, and the beginning of the first."""

    kind: str
    sample: bytes
    detail: str = ""
    count: int = 0
    #: Of the first one.
    size_bytes: int = 0
    content_type: str | None = None

    def words(self, *, redacted: bool) -> str:
        """Say what it is, with nothing that was in it if secrets are to be masked."""
        if redacted:
            of = f" of {self.content_type[:_NAME_MAX]}" if self.content_type else ""
            return f"{self.kind}: {self.size_bytes} bytes{of}"
        detail = f" ({self.detail})" if self.detail else ""
        return f"{self.kind}{detail}: {ascii(bytes(self.sample))[1:]}"


# --- the envelope of kombu's virtual transports -----------------------------------


class _Properties(msgspec.Struct, gc=False):
    body_encoding: str | None = None


class _Headers(msgspec.Struct, gc=False):
    compression: str | None = None


class _Envelope(msgspec.Struct, rename="kebab", gc=False):
    body: str
    content_type: str | None = None
    content_encoding: str | None = None
    headers: _Headers | None = None
    properties: _Properties | None = None


class _UsualProperties(msgspec.Struct, gc=False):
    body_encoding: Literal["base64"]


class _UsualHeaders(msgspec.Struct, gc=False):
    compression: None = None


class _UsualEnvelope(msgspec.Struct, rename="kebab", gc=False):
    """Around plain JSON, as every Celery worker writes it."""

    body: bytes
    properties: _UsualProperties
    content_type: Literal["application/json"]
    content_encoding: Literal["utf-8"]
    headers: _UsualHeaders


_open_usual: Final = msgspec.json.Decoder(_UsualEnvelope).decode
_open_envelope: Final = msgspec.json.Decoder(_Envelope).decode


def _unwrap(data: bytes) -> Message:
    """Take a message out of its envelope; raise DecodeError if that is none."""
    try:
        envelope = _open_envelope(data)
    except BROKEN_JSON:
        try:  # There are headers that only Python's own JSON can say.
            envelope = msgspec.convert(plain(read_json(data)), _Envelope)
        except (DecodeError, *BROKEN_JSON) as error:
            raise DecodeError("no kombu envelope", str(error)) from None
    body = envelope.body.encode()
    if envelope.properties is not None and envelope.properties.body_encoding == "base64":
        try:
            body = msgspec.convert(envelope.body, bytes)
        except msgspec.ValidationError:
            raise DecodeError("body is no base64") from None
    compression = envelope.headers.compression if envelope.headers else None
    return Message(body, envelope.content_type, envelope.content_encoding, compression)


# --- the decoder ------------------------------------------------------------------

# Names are chosen by senders, so few and short ones are learned; events with others
# are read field by field.
_LEARNED_OF_KIND_MAX: Final = 32
_LEARNED_MAX: Final = 256
_CUSTOM_KINDS_MAX: Final = 64
_LEARNED_MAX_CHARS: Final = 100

#: What the lines of a recording add, what we set, and what a JSON name cannot be.
_RESERVED: Final = frozenset({"type", "local_received", "v", "ts", "lag", "joined", "own", "known"})


class Schema:
    """Decodes events into structs; learns names of fields, and types of custom events.

    A name or type that is new costs one more look at the message, once.  Its bounds
    are 32 names a type, 256 in all, and 64 types; beyond, an event's `original`
    has what no slot has.
    """

    def __init__(self) -> None:
        #: By type, the names of its fields, Celery's and those that senders added.
        self._names = dict(OWN_FIELDS)
        self._classes = dict(_CELERYS)
        self._learned_count = 0
        #: Whether there are events with fields of any type.
        self.is_open = False
        self._prepare()

    def _prepare(self) -> None:
        any_event: Any = reduce(or_, self._classes.values())
        #: Decode one event or a batch; raise ValidationError for what does not fit.
        self.json_event: Callable[[bytes], Any] = msgspec.json.Decoder(any_event).decode
        self.json_batch: Callable[[bytes], Any] = msgspec.json.Decoder(list[any_event]).decode
        self.msgpack_event: Callable[[bytes], Any] = msgspec.msgpack.Decoder(any_event).decode
        self.msgpack_batch: Callable[[bytes], Any] = msgspec.msgpack.Decoder(list[any_event]).decode

    def learn(self, value: Any) -> bool:
        """Learn from an event that did not fit, or a batch; return whether it was new."""
        events = value if type(value) is list else [value]
        # All of a batch, not only the first.
        news = [self._learn(event) for event in events if type(event) is dict]
        if any(news):
            self._prepare()
        return any(news)

    def _learn(self, event: EventFields) -> bool:
        kind = event.get("type")
        if type(kind) is not str or kind == GAP or not _is_short(kind):
            return False
        known, celerys = self._names.get(kind, ()), OWN_FIELDS.get(kind, COMMON)
        if not known and len(self._names) - len(OWN_FIELDS) >= _CUSTOM_KINDS_MAX:
            return False
        names = [name for name in event if name not in known and name not in _RESERVED]
        room = _LEARNED_OF_KIND_MAX - sum(name not in celerys for name in known)
        room = min(room, _LEARNED_MAX - self._learned_count)
        learned = [name for name in names if name not in celerys and _is_short(name)][:room]
        new = [name for name in names if name in celerys or name in learned]
        if not known:
            # Receivers set a missing clock; what is nameless is looked for among the odd.
            needed = ("clock", {"task": "uuid", "worker": "hostname"}.get(group_from(kind)))
            new += [name for name in COMMON if name in needed and name not in new]
        if not new:
            return False
        self._learned_count += len(learned)
        self.is_open = self._learned_count > 0
        self._names[kind] = (*known, *new)
        self._classes[kind] = make_class(kind, self._names[kind])
        return True

    def event(self, fields: EventFields) -> Event:
        """Return the event of a dictionary, which may become part of it."""
        # A union of classes would be looked through anew each time, in 20 times as long.
        kind = fields.get("type")
        if type(kind) is str and kind in self._classes:
            try:
                return msgspec.convert(fields, self._classes[kind])
            except (msgspec.ValidationError, ValueError, RecursionError):
                pass
        return tidied(fields)


def _is_short(name: str) -> bool:
    """Return whether a name is as short and plain as it has to be for a struct."""
    if not 0 < len(name) <= _LEARNED_MAX_CHARS or name.startswith("evtools:"):
        return False
    return name.isprintable() and not {"\\", '"'} & set(name)


_CELERYS: Final = {kind: make_class(kind, names) for kind, names in OWN_FIELDS.items()}
#: Learns nothing, so it may be shared.
_celery: Final = Schema()


def from_fields(fields: Mapping[str, Any], schema: Schema | None = None) -> Event:
    """Return the typed event of a dictionary such as handlers get, which is left as it is.

    Where it does not say when the event was received, that is when it was sent.
    What has no type is a CustomEvent of type "".  A `schema` learns what is new.
    """
    copy = dict(fields)
    event = (schema or _celery).event(copy)
    if schema is not None and event.original is not UNSET and schema.learn(copy):
        event = schema.event(copy)
    received: Any = event.local_received
    if received is UNSET:
        if event.original is UNSET:
            event.original = dict(fields)
        event.local_received = event.timestamp or 0.0
    return event


# --- messages ---------------------------------------------------------------------


class Codec:
    """Decode messages into events; count what is none.

    `accept` names the serializers to decode (json, msgpack, yaml, pickle).
    """

    def __init__(
        self,
        accept: Iterable[str] = ("json", "msgpack", "yaml"),
        *,
        max_bytes: int = MESSAGE_MAX_BYTES,
    ) -> None:
        self._readers = dict(READERS[name] for name in accept)
        self._max_bytes = max_bytes
        self._schema = Schema()
        #: Ill-formed input by kind, in the order of first appearance.
        self.defects: dict[str, Defect] = {}

    def events(self, message: Message) -> list[Event]:
        """Return the events in `message`; never raise.

        What is no event is left out and counted in `defects`.
        """
        body = self._plain_json(message)
        if body is None:
            return self._decode_slowly(message)
        try:
            return self._typed(body)
        except BROKEN_JSON:  # something is new or odd
            pass
        try:
            value = decode_json(body)
        except BROKEN_JSON:
            return self._decode_slowly(message)
        if self._schema.learn(value):
            with suppress(msgspec.ValidationError):
                return self._typed(body)
        return [self._schema.event(fields) for fields in self._well_formed(value, body, _JSON)]

    def decode(self, message: Message) -> list[EventFields]:
        """Return the events in `message` as dictionaries."""
        return [event.as_dict() for event in self.events(message)]

    def value(self, message: Message) -> Any:
        """Return what is in a message that need be no event; raise DecodeError."""
        self._check_size(message)
        return self._value(message)

    def _plain_json(self, message: Message) -> bytes | None:
        """Return the body of a message in JSON that needs no work, None of any other."""
        body, content_type, encoding, compression = message
        if len(body) > self._max_bytes or _JSON not in self._readers:
            return None
        if content_type == ENVELOPE:
            try:
                return _open_usual(body).body
            except BROKEN_JSON:
                return None
        if content_type != _JSON or compression or encoding not in _UTF8:
            return None
        return body

    def _typed(self, body: bytes) -> list[Event]:
        """Return the events of a body in which nothing is odd, else raise."""
        schema = self._schema
        if body.startswith(b"["):
            events: list[Event] = schema.json_batch(body)
        else:
            events = [schema.json_event(body)]
        if schema.is_open and body.count(b"[") + body.count(b"{") > DEPTH_MAX:
            for event in events:
                if event.learned and is_deep(event.extra):
                    raise RecursionError
        return events

    def _typed_msgpack(self, body: bytes) -> list[Event]:
        schema = self._schema
        if len(body) > MSGPACK_MAX_BYTES or _MSGPACK not in self._readers:
            raise ValueError("not as usual")
        if body[:1] in _LISTS:
            events: list[Event] = schema.msgpack_batch(body)
        else:
            events = [schema.msgpack_event(body)]
        for event in events:
            # msgpack has more than JSON: bytes, dates, extensions, keys of any type.
            for value in event.extra.values() if event.learned else ():
                if type(value) not in _SCALARS or (type(value) is float and not isfinite(value)):
                    raise ValueError("not as usual")
        return events

    def _decode_slowly(self, message: Message) -> list[Event]:
        try:
            self._check_size(message)
            if message.content_type == ENVELOPE:
                message = _unwrap(message.body)
            if message.content_type == _MSGPACK and not message.compression:
                with suppress(*BROKEN_JSON):
                    return self._typed_msgpack(message.body)
            value = self._value(message)
        except DecodeError as error:
            self._count(error.kind, error.detail, message.body, message.content_type)
            return []
        lost: list[Lost] = []
        events = [
            fields_of(event, lost)
            for event in self._well_formed(value, message.body, message.content_type)
        ]
        for each in lost:
            self._count(each.kind, each.detail, message.body, message.content_type)
        self._schema.learn(events)
        # A key that became text may have taken the place of the type.
        return [self._schema.event(event) for event in events if event["type"] != GAP]

    def _check_size(self, message: Message) -> None:
        if len(message.body) > self._max_bytes:
            raise DecodeError("message too large", f"over {self._max_bytes} bytes")

    def _value(self, message: Message) -> Any:
        body, content_type, encoding, compression = message
        reader = self._readers.get(content_type or "")
        if reader is None:
            raise DecodeError("content type not accepted", repr(content_type))
        if compression:
            body = decompress(body, compression, max_bytes=self._max_bytes)
        if encoding and encoding not in _UTF8 and reader is read_json:
            charset = _CHARSETS.get(encoding.lower().replace("-", "_").replace(" ", "_"), "")
            try:
                body = body.decode(charset).encode("utf-8", "surrogatepass")
            except LookupError:
                raise DecodeError("unknown charset", repr(encoding)) from None
            except ValueError:
                raise DecodeError("text is not in its charset", repr(encoding)) from None
        return reader(body)

    def _well_formed(self, value: Any, body: bytes, content_type: str | None) -> list[Any]:
        events: list[Any] = []
        # A batch may have millions that are none: exceptions would take too long.
        for item in value if type(value) is list else [value]:
            defect = _defect_of(item)
            if defect is None:
                events.append(item)
            else:
                self._count(*defect, body, content_type)
        return events

    def _count(self, kind: str, detail: str, body: bytes, content_type: str | None) -> None:
        # Kinds are few and ours; what a sender chose is in the details.
        defect = self.defects.get(kind)
        if defect is None:
            detail, sample = detail[:_DETAIL_MAX], bytes(body[:_SAMPLE_MAX])
            defect = Defect(kind, sample, detail, 0, len(body), content_type)
            self.defects[kind] = defect
        defect.count += 1


def _defect_of(item: Any) -> tuple[str, str] | None:
    """Return what keeps a decoded value from being an event, and the details."""
    if type(item) is dict:
        kinds = [item["type"]] if "type" in item else []
    elif type(item) is Pairs:
        kinds = [value for key, value in item if key == "type"]
    else:
        return "no object", type(item).__name__
    if not kinds:
        return "no type", "NoneType"
    # As in a dictionary, the last of several counts.
    kind = kinds[-1]
    if type(kind) is not str or not kind:
        return "type is no name", repr(kind) if isinstance(kind, str) else type(kind).__name__
    # Whoever can publish could forge holes in our own book-keeping.
    return ("type is reserved", repr(kind)) if kind == GAP else None
