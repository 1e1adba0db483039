"""Events from RabbitMQ and other AMQP 0-9-1 brokers."""

import logging
import struct
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from amqp import spec
from amqp.basic_message import Message as Properties
from amqp.exceptions import ChannelError, UnexpectedFrame
from kombu.connection import Connection

from evtools.transport.streams import SocketStream, as_sent
from evtools.wire import MESSAGE_MAX_BYTES, Message

_FRAME_HEADER = struct.Struct(">BHI")
_FRAME_END = 0xCE
_METHOD, _HEADER, _BODY, _HEARTBEAT = 1, 2, 3, 8
_DELIVER = struct.pack(">HH", *spec.Basic.Deliver)
#: The number of a delivery, and whether it may have been delivered before.
_DELIVERY = struct.Struct(">Q?")
#: Frame header, frame end.
_OVERHEAD = 8
_BODY_SIZE = struct.Struct(">Q")
#: Class, weight and body size stand before the properties.
_BODY_SIZE_AT, _PROPERTIES_AT = 4, 12
_FRAME_MIN = 4096
_CLOSE_WAIT = 1.0
#: After this time without any event, in seconds, the queue is bound again.
SILENCE = 30.0
#: Raised by bytes that are no frame.
_BROKEN = (struct.error, LookupError, TypeError, ValueError, AttributeError)
_KNOWN_PROPERTIES_MAX = 256

_log = logging.getLogger(__name__)

#: Content type, content encoding and compression.
_Properties = tuple[str | None, str | None, str | None]


class AMQPStream(SocketStream):
    """Read deliveries straight from the socket of a py-amqp connection.

    py-amqp connects, logs in and declares; from then on the frames are split here, because it
    makes nine system calls for a message where one for a hundred messages will do.  Frames that are
    no deliveries go back to it.  `channel` is the one that `queue` is declared on; `bind` binds the
    queue once more, without waiting for an answer.  With a `prefetch`, messages are to be
    acknowledged, and the broker sends no more than that many that were not.
    """

    def __init__(
        self,
        connection: Connection,
        channel: Any,
        queue: str,
        bind: Callable[[], None],
        prefetch: int = 0,
    ) -> None:
        self._channel, self._acknowledges = channel, bool(prefetch)
        self._number, self._is_repeat = 0, False
        self.errors = (*connection.connection_errors, *connection.channel_errors, OSError)
        self._amqp = connection.connection
        self._channel_id: int = channel.channel_id
        self._messages: list[Message] = []
        # This is for what py-amqp reads while the connection is still being set up.
        if prefetch:
            channel.basic_qos(0, prefetch, a_global=False)
        channel.basic_consume(queue=queue, no_ack=not prefetch, callback=self._read_by_driver)
        self._frame_max: int = max(self._amqp.frame_max, _FRAME_MIN)
        #: What was read and is no whole frame yet; None as long as py-amqp reads.
        self._rest: bytes | None = None
        # The broker was given whole seconds.
        super().__init__(self._amqp.transport.sock, int(self._amqp.heartbeat or 0))
        self._bind = bind
        self._fetched = self._bound = time.monotonic()
        self._known: dict[bytes, _Properties] = {}
        self._properties: _Properties = (None, None, None)
        #: Of a body that is not whole yet: its frames, and how many bytes are missing and kept.
        self._parts: list[bytes] = []
        self._missing = 0
        self._kept = 0

    def _read_by_driver(self, message: Any) -> None:
        if self._acknowledges:
            facts = message.delivery_info
            self._number, self._is_repeat = facts["delivery_tag"], facts["redelivered"]
        self._add(to_message(message))

    def _add(self, message: Message) -> None:
        self._messages.append(message)
        self.delivered = self._number
        self.has_repeats |= self._is_repeat

    def acknowledge(self, number: int) -> None:
        self._channel.basic_ack(number, multiple=True)

    def drain(self, timeout: float) -> list[Message]:
        if not self._messages:
            self.has_repeats = False
        if self._rest is None:
            self._rest = self._amqp.transport._read_buffer  # noqa: SLF001  (ours from now on)
        if self._needs_heartbeat():
            self._amqp.send_heartbeat()
        if not self._messages and (data := self._receive(timeout)):
            try:
                self._split(self._rest + data)
            except _BROKEN as exc:
                raise UnexpectedFrame(f"frame that makes no sense: {exc!r}") from exc
        messages, self._messages = self._messages, []
        now = time.monotonic()
        if messages:
            self._fetched = self._bound = now
        elif now - self._bound >= SILENCE:
            # The broker does not report that an exchange is deleted, and our binding with it.  If a
            # worker has made it again, this binds us to it; if not, the broker closes the channel.
            self._bound = now
            self._bind()
        return messages

    def _split(self, data: bytes) -> None:
        # Handle all whole frames in `data`, keep what is left over.
        position, end, ours = 0, len(data), self._channel_id
        while end - position >= _OVERHEAD:
            kind, channel, size = _FRAME_HEADER.unpack_from(data, position)
            if size > self._frame_max:
                raise UnexpectedFrame(f"frame of {size} bytes")
            after = position + _OVERHEAD + size
            if after > end:
                break
            if data[after - 1] != _FRAME_END:
                raise UnexpectedFrame("frame without its end mark")
            payload = data[position + _OVERHEAD - 1 : after - 1]
            position = after
            is_ours = channel == ours
            if is_ours and kind == _BODY:
                self._body(payload)
            elif is_ours and kind == _HEADER:
                self._header(payload)
            elif is_ours and kind == _METHOD and payload.startswith(_DELIVER):
                if self._acknowledges:
                    # After the tag of the consumer, with its length before it.
                    begin = len(_DELIVER) + 1 + payload[len(_DELIVER)]
                    self._number, self._is_repeat = _DELIVERY.unpack_from(payload, begin)
            elif kind != _HEARTBEAT:
                self._hand_back(kind, channel, payload)
        self._rest = data[position:]

    def _hand_back(self, kind: int, channel: int, payload: bytes) -> None:
        try:
            self._amqp.on_inbound_frame((kind, channel, payload))
        except ChannelError as exc:
            # On another channel than ours the workers were greeted; events come without that.
            if channel in {0, self._channel_id}:
                # What came last came before this, whatever else is wrong.
                exc.silent = time.monotonic() - self._fetched
                raise
            _log.warning("the broker refused a command to the workers: %s", exc)

    def _header(self, payload: bytes) -> None:
        (self._missing,) = _BODY_SIZE.unpack_from(payload, _BODY_SIZE_AT)
        raw = payload[_PROPERTIES_AT:]
        properties = self._known.get(raw)
        if properties is None:
            properties, content = (None, None, None), Properties()
            with suppress(Exception):  # py-amqp raises anything on broken tables
                content.inbound_header(payload)
                properties = to_message(content)[1:]
            if len(self._known) < _KNOWN_PROPERTIES_MAX:
                self._known[raw] = properties
        self._properties = properties
        self._kept = 0
        if not self._missing:
            self._add(Message(b"", *properties))

    def _body(self, payload: bytes) -> None:
        if len(payload) > self._missing:
            raise UnexpectedFrame("more body than was announced")
        self._missing -= len(payload)
        if self._missing or self._parts:
            # Past the cap the codec refuses the message; keep no more than it takes to see that.
            if self._kept <= MESSAGE_MAX_BYTES:
                self._parts.append(payload)
                self._kept += len(payload)
            if self._missing:
                return
            payload, self._parts = b"".join(self._parts), []
        self._add(Message(payload, *self._properties))

    def close(self) -> None:
        """Say goodbye as AMQP asks for, without waiting long for the answer."""
        deadline = time.monotonic() + _CLOSE_WAIT
        try:
            self._sock.settimeout(_CLOSE_WAIT)
            self._amqp.send_method(spec.Connection.Close, "BsBB", (0, "", 0, 0))
            # py-amqp drops its channels when the answer has come.
            while self._amqp.channels is not None and time.monotonic() < deadline:
                self.drain(max(0.01, deadline - time.monotonic()))
        except self.errors:
            pass
        finally:
            self._sock.close()


def to_message(message: Any) -> Message:
    """Return what py-amqp has read, as it was on the wire."""
    found = message.properties
    headers = found.get("application_headers")
    compression = headers.get("compression") if isinstance(headers, dict) else None
    kind, encoding = found.get("content_type"), found.get("content_encoding")
    return as_sent(message.body, kind, encoding, compression)
