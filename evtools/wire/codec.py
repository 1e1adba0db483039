"""Message bodies to events: serialisers, compression, and what is wrong with them."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

import msgspec

from evtools.errors import DecodeError
from evtools.wire.compression import decompress
from evtools.wire.events import EventFields
from evtools.wire.serialisers import DECODERS, decode_json, lenient_json

#: What a message may weigh in bytes, as sent and unpacked.  Celery's own
#: events stay below 10 kB; this leaves room for odd custom ones.
MESSAGE_MAX_BYTES = 16 * 1024 * 1024

#: The content type we give what kombu's virtual transports put on the wire:
#: a JSON envelope around a body.
ENVELOPE = "application/x-kombu-envelope"

_UTF8 = frozenset({"utf-8", "UTF-8", "utf8", "us-ascii", None, ""})
_KINDS_MAX = 64
_SAMPLE_MAX = 200


class Message(NamedTuple):
    """A message as it came from the broker; nothing in it is trusted."""

    body: bytes
    content_type: str | None = "application/json"
    content_encoding: str | None = "utf-8"
    compression: str | None = None


@dataclass(slots=True)
class Defect:
    """One kind of ill-formed input: how often, and the beginning of the first."""

    kind: str
    sample: bytes
    detail: str = ""
    count: int = 0


class _Properties(msgspec.Struct):
    body_encoding: str | None = None


class _Headers(msgspec.Struct):
    compression: str | None = None


class _Envelope(msgspec.Struct, rename="kebab"):
    body: str
    content_type: str | None = None
    content_encoding: str | None = None
    headers: _Headers | None = None
    properties: _Properties | None = None


class Codec:
    """Decode messages into events; count what is none.

    `accept` names the serialisers to decode (json, msgpack, yaml, pickle).
    """

    def __init__(
        self,
        accept: Iterable[str] = ("json", "msgpack", "yaml"),
        *,
        max_bytes: int = MESSAGE_MAX_BYTES,
    ) -> None:
        self._decoders: dict[str, Callable[[bytes], Any]] = {}
        for name in accept:
            content_types, decoder = DECODERS[name]
            self._decoders.update(dict.fromkeys(content_types, decoder))
        self._json = "json" in set(accept)
        self._max_bytes = max_bytes
        self._envelope = msgspec.json.Decoder(_Envelope)
        #: Ill-formed input by kind, in the order of first appearance.
        self.defects: dict[str, Defect] = {}

    def decode(self, message: Message) -> list[EventFields]:
        """Return the events in `message`; never raise.

        What is no event is left out and counted in `defects`.
        """
        body, content_type, encoding, compression = message
        if (
            content_type == "application/json"
            and not compression
            and self._json
            and encoding in _UTF8
            and len(body) <= self._max_bytes
        ):
            # The usual case first: a JSON body straight from the wire.
            try:
                value = decode_json(body)
            except (msgspec.MsgspecError, ValueError, RecursionError):
                return self._decode_slowly(message)
        else:
            return self._decode_slowly(message)
        if type(value) is dict:
            kind = value.get("type")
            if type(kind) is str and kind:
                return [value]
        return self._events(value, body)

    def _decode_slowly(self, message: Message) -> list[EventFields]:
        try:
            value = self._value(message)
        except DecodeError as defect:
            self._count(defect, message.body)
            return []
        return self._events(value, message.body)

    def _value(self, message: Message) -> Any:
        body, content_type, encoding, compression = message
        if len(body) > self._max_bytes:
            raise DecodeError("message too large", f"over {self._max_bytes} bytes")
        if content_type == ENVELOPE:
            return self._value(self.unwrap(body))
        decoder = self._decoders.get(content_type or "")
        if decoder is None:
            raise DecodeError("content type not accepted", repr(content_type)[:64])
        if compression:
            body = decompress(body, compression, max_bytes=self._max_bytes)
        if encoding not in _UTF8 and decoder is lenient_json:
            body = _recode(body, str(encoding))
        return decoder(body)

    def unwrap(self, data: bytes) -> Message:
        """Take a message out of the envelope of kombu's virtual transports.

        Raise DecodeError if `data` is no such envelope.
        """
        try:
            envelope = self._envelope.decode(data)
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            raise DecodeError("no kombu envelope", str(error)) from None
        base64 = envelope.properties is not None and (
            envelope.properties.body_encoding == "base64"
        )
        return Message(
            _from_base64(envelope.body) if base64 else envelope.body.encode(),
            envelope.content_type,
            envelope.content_encoding,
            envelope.headers.compression if envelope.headers else None,
        )

    def _events(self, value: Any, body: bytes) -> list[EventFields]:
        """Return the well-formed events of a decoded body, one or a batch."""
        events: list[EventFields] = []
        for item in value if type(value) is list else [value]:
            if type(item) is not dict:
                self._count(DecodeError("no object", type(item).__name__), body)
                continue
            kind = item.get("type")
            if type(kind) is str and kind:
                events.append(item)
            elif "type" in item:
                self._count(DecodeError("type is no name", repr(kind)[:64]), body)
            else:
                self._count(DecodeError("no type"), body)
        return events

    def _count(self, error: DecodeError, body: bytes) -> None:
        kind = error.kind
        if kind not in self.defects and len(self.defects) >= _KINDS_MAX:
            kind = "other"
        defect = self.defects.get(kind)
        if defect is None:
            defect = Defect(kind, bytes(body[:_SAMPLE_MAX]), error.detail)
            self.defects[kind] = defect
        defect.count += 1


def _from_base64(text: str) -> bytes:
    try:
        return msgspec.convert(text, bytes)
    except msgspec.ValidationError:
        raise DecodeError("body is no base64") from None


def _recode(body: bytes, encoding: str) -> bytes:
    """Return JSON text in `encoding` as UTF-8."""
    try:
        return body.decode(encoding).encode("utf-8", "surrogatepass")
    except (LookupError, TypeError):
        raise DecodeError("unknown charset", repr(encoding)[:64]) from None
    except ValueError:
        raise DecodeError("text is not in its charset", repr(encoding)[:64]) from None
