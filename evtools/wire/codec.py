"""Message bodies to events: serializers, compression, and what is wrong with them."""

from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from encodings.aliases import aliases
from math import isfinite
from typing import Any, Final, Literal, NamedTuple

import msgspec

from evtools.errors import DecodeError
from evtools.wire.events import GAP, Event, EventFields
from evtools.wire.schema import Schema
from evtools.wire.serializers import READERS, decode_json, decompress, is_deep, read_json
from evtools.wire.values import DEPTH_MAX, Lost, Pairs, fields_of, plain

#: What a message may weigh in bytes, as sent and unpacked.  Celery's own
#: events stay below 10 kB; this leaves room for odd custom ones.
MESSAGE_MAX_BYTES: Final = 16 * 1024 * 1024

#: The content type we give what kombu's virtual transports put on the wire:
#: a JSON envelope around a body.
ENVELOPE: Final = "application/x-kombu-envelope"

_JSON: Final = "application/json"
_MSGPACK: Final = "application/x-msgpack"
#: One byte of msgpack can be a list; longer bodies are read where values are counted.
_MSGPACK_MAX_BYTES: Final = 256 * 1024
#: The first bytes of lists.
_MSGPACK_LISTS: Final = frozenset(bytes([first]) for first in (*range(0x90, 0xA0), 0xDC, 0xDD))
_BASE64: Final = "base64"

#: Encodings that need no work; kombu leaves what is "binary" to the decoder.
_UTF8: Final = frozenset({None, "", "utf-8", "UTF-8", "utf8", "us-ascii", "binary"})

#: Python's names of charsets by all their aliases.  Others are not looked up,
#: because Python remembers every name it was asked for.
_CHARSETS: Final = {name: name for name in aliases.values()} | aliases

#: How much of a hostile text is kept, in characters or bytes.
_SAMPLE_MAX: Final = 200
_DETAIL_MAX: Final = 200
_NAME_MAX: Final = 64

_BROKEN_JSON: Final = (msgspec.MsgspecError, ValueError, RecursionError)


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
    """An envelope around plain JSON as every Celery worker writes it."""

    body: bytes
    properties: _UsualProperties
    content_type: Literal["application/json"]
    content_encoding: Literal["utf-8"]
    headers: _UsualHeaders


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
        self._readers: dict[str, Callable[[bytes], Any]] = {}
        for name in accept:
            content_types, reader = READERS[name]
            self._readers.update(dict.fromkeys(content_types, reader))
        self._max_bytes = max_bytes
        self._schema = Schema()
        self._envelope = msgspec.json.Decoder(_Envelope)
        self._open_usual = msgspec.json.Decoder(_UsualEnvelope).decode
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
        except _BROKEN_JSON:
            return self._unfit(body, message)

    def decode(self, message: Message) -> list[EventFields]:
        """Return the events in `message` as dictionaries."""
        return [event.as_dict() for event in self.events(message)]

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
        """Do the same with msgpack."""
        schema = self._schema
        if len(body) > _MSGPACK_MAX_BYTES or _MSGPACK not in self._readers:
            raise ValueError("not as usual")
        if body[:1] in _MSGPACK_LISTS:
            events: list[Event] = schema.msgpack_batch(body)
        else:
            events = [schema.msgpack_event(body)]
        for event in events:
            # msgpack has more than JSON: bytes, dates, extensions, keys of any type.
            if event.learned and not all(map(_is_scalar, event.extra.values())):
                raise ValueError("not as usual")
        return events

    def _unfit(self, body: bytes, message: Message) -> list[Event]:
        """Return the events of a body in JSON in which something is new or odd."""
        try:
            value = decode_json(body)
        except _BROKEN_JSON:
            return self._decode_slowly(message)
        if self._schema.learn(value):
            with suppress(msgspec.ValidationError):
                return self._typed(body)
        event = self._schema.event
        return [event(fields) for fields in self._well_formed(value, body, _JSON)]

    def _plain_json(self, message: Message) -> bytes | None:
        """Return the body of a message in JSON that needs no work, None of any other."""
        body, content_type, encoding, compression = message
        if len(body) > self._max_bytes or _JSON not in self._readers:
            return None
        if content_type == ENVELOPE:
            try:
                opened: bytes = self._open_usual(body).body
            except _BROKEN_JSON:
                return None
            return opened
        if content_type != _JSON or compression or encoding not in _UTF8:
            return None
        return body

    def _decode_slowly(self, message: Message) -> list[Event]:
        try:
            self._check_size(message)
            if message.content_type == ENVELOPE:
                message = self.unwrap(message.body)
            if message.content_type == _MSGPACK and not message.compression:
                with suppress(*_BROKEN_JSON):
                    return self._typed_msgpack(message.body)
            value = self._value(message)
        except DecodeError as error:
            self._count(error, message.body, message.content_type)
            return []
        lost: list[Lost] = []
        events = [
            fields_of(event, lost)
            for event in self._well_formed(value, message.body, message.content_type)
        ]
        for each in lost:
            why = DecodeError(each.kind, each.detail)
            self._count(why, message.body, message.content_type)
        self._schema.learn(events)
        # A key that became text may have taken the place of the type.
        return [self._schema.event(event) for event in events if event["type"] != GAP]

    def value(self, message: Message) -> Any:
        """Return what is in a message that need be no event; raise DecodeError."""
        self._check_size(message)
        return self._value(message)

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
            body = _recode(body, encoding)
        return reader(body)

    def unwrap(self, data: bytes) -> Message:
        """Take a message out of the envelope of kombu's virtual transports.

        Raise DecodeError if `data` is no such envelope.
        """
        try:
            envelope = self._envelope.decode(data)
        except _BROKEN_JSON:
            envelope = _odd_envelope(data)
        base64 = envelope.properties is not None and envelope.properties.body_encoding == _BASE64
        return Message(
            _from_base64(envelope.body) if base64 else envelope.body.encode(),
            envelope.content_type,
            envelope.content_encoding,
            envelope.headers.compression if envelope.headers else None,
        )

    def _well_formed(self, value: Any, body: bytes, content_type: str | None) -> list[Any]:
        """Return the well-formed events of a decoded body, one or a batch."""
        events: list[Any] = []
        for item in value if type(value) is list else [value]:
            # The usual first: a call for each event would be seen in benchmarks.
            kind = item.get("type") if type(item) is dict else _type_of(item)
            if type(kind) is str and kind and kind != GAP:
                events.append(item)
                continue
            kind = _type_of(item)
            # A batch may have millions of these: exceptions would take too long.
            known = self.defects.get(_defect_of(kind))
            if known is None:
                error = DecodeError(_defect_of(kind), _shown(item, kind))
                self._count(error, body, content_type)
            else:
                known.count += 1
        return events

    def _count(self, error: DecodeError, body: bytes, content_type: str | None) -> None:
        # Kinds are few and ours; what a sender chose is in the details.
        defect = self.defects.get(error.kind)
        if defect is None:
            detail = error.detail[:_DETAIL_MAX]
            sample = bytes(body[:_SAMPLE_MAX])
            defect = self.defects[error.kind] = Defect(
                error.kind, sample, detail, 0, len(body), content_type
            )
        defect.count += 1


def _is_scalar(value: Any) -> bool:
    kind = type(value)
    return kind in (str, bool, int, type(None)) or (kind is float and isfinite(value))


#: What stands for the type of what has none.
_NO_OBJECT: Final = object()
_NO_TYPE: Final = object()


def _type_of(item: Any) -> Any:
    if type(item) is dict:
        return item.get("type", _NO_TYPE)
    if type(item) is Pairs:
        # As in a dictionary, the last of several counts.
        return next((value for key, value in reversed(item) if key == "type"), _NO_TYPE)
    return _NO_OBJECT


def _defect_of(kind: Any) -> str:
    """Return what keeps a decoded value, whose type this is, from being an event."""
    if kind is _NO_OBJECT:
        return "no object"
    if kind is _NO_TYPE:
        return "no type"
    # Whoever can publish could forge holes in our own book-keeping.
    return "type is reserved" if kind == GAP else "type is no name"


def _shown(item: Any, kind: Any) -> str:
    if kind is _NO_OBJECT:
        return type(item).__name__
    if kind is _NO_TYPE:
        return "NoneType"
    return repr(kind) if isinstance(kind, str) else type(kind).__name__


def _odd_envelope(data: bytes) -> _Envelope:
    """Read an envelope whose headers only Python's own JSON can say."""
    try:
        return msgspec.convert(plain(read_json(data)), _Envelope)
    except (DecodeError, *_BROKEN_JSON) as error:
        raise DecodeError("no kombu envelope", str(error)) from None


def _from_base64(text: str) -> bytes:
    try:
        return msgspec.convert(text, bytes)
    except msgspec.ValidationError:
        raise DecodeError("body is no base64") from None


def _recode(body: bytes, encoding: str) -> bytes:
    """Return JSON text in `encoding` as UTF-8."""
    charset = _CHARSETS.get(encoding.lower().replace("-", "_").replace(" ", "_"))
    if charset is None:
        raise DecodeError("unknown charset", repr(encoding))
    try:
        return body.decode(charset).encode("utf-8", "surrogatepass")
    except LookupError:
        raise DecodeError("unknown charset", repr(encoding)) from None
    except ValueError:
        raise DecodeError("text is not in its charset", repr(encoding)) from None
