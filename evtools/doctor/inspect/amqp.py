"""What RabbitMQ and other AMQP 0-9-1 brokers reveal of themselves."""

import json
import re
import shlex
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from itertools import product
from typing import Any, Final
from urllib.parse import quote, unquote

from amqp.exceptions import AccessRefused, ChannelError, NotFound, PreconditionFailed
from kombu.connection import Connection

from evtools.doctor.inspect import (
    BrokerInspector,
    Elsewhere,
    ExchangeStatus,
    OrphanedQueue,
    OrphanSearch,
    Permission,
    allow,
    is_event,
)
from evtools.errors import EvtoolsError
from evtools.transport import ConnectionSettings, connect
from evtools.transport.errors import Diagnosis, diagnose
from evtools.transport.receiver import fresh_queue_name, subscribe
from evtools.transport.streams.amqp import to_message
from evtools.transport.url import mask, parse, with_vhost
from evtools.wire import exchange_type, queue_arguments

_TYPE: Final = exchange_type("amqp")
_DEFAULT_EXCHANGE: Final = "celeryev"
_DEFAULT_VHOST: Final = "/"
#: Celery's own event_queue_ttl and event_queue_expires, in seconds.
_CELERYS_LIFE: Final = (5.0, 60.0)
#: How long to listen in another place, in seconds: a heartbeat and a bit.
_ELSEWHERE_WAIT: Final = 2.5

#: How RabbitMQ begins to report a limit, whose it is, and what it is called.
_LIMITS: Final = (
    ("access to vhost '", "vhost", "max-connections"),
    ("connection refused for user '", "user", "max-connections"),
    ("number of channels opened for user '", "user", "max-channels"),
    ("cannot declare queue '", "vhost", "max-queues"),
)
#: By how much to raise a limit.
_ROOM: Final = 10
#: How RabbitMQ begins to refuse what topic permissions do not allow; 4.0 says which right it is.
_TOPIC: Final = re.compile(r"(\w+ )?access to topic '")


class AMQPInspector(BrokerInspector):
    """Ask over AMQP; each question has a channel of its own, which a refusal closes."""

    def __init__(self, connection: Connection, settings: ConnectionSettings) -> None:
        super().__init__(connection, settings)
        properties = connection.connection.server_properties
        names = [properties.get(name, b"") for name in ("product", "version")]
        shown = [n.decode(errors="replace") if isinstance(n, bytes) else str(n) for n in names]
        self.server = " ".join(shown).strip()
        self._vhost: str = connection.virtual_host or _DEFAULT_VHOST

    def exchange(self) -> ExchangeStatus:
        name = self._settings.event_exchange
        where = f"exchange {name} of type {_TYPE} in vhost {self._vhost}"
        if not _has_exchange(self._connection, name):
            command = _ctl("-q", "list_exchanges", "-p", self._vhost)
            return ExchangeStatus(where, exists=False, command=command)
        try:
            self._ask("exchange_declare", name, _TYPE, durable=True, auto_delete=False)
        except PreconditionFailed as exc:
            return ExchangeStatus(where, clash=self._text_of(exc))
        except AccessRefused:
            return ExchangeStatus(where, may_declare=False)
        return ExchangeStatus(where)

    def has_mailboxes(self) -> bool:
        return _has_exchange(self._connection, f"{self._settings.control_exchange}.pidbox")

    def _ask(self, method: str, *args: Any, **kwargs: Any) -> Any:
        with _channel_of(self._connection) as channel:
            return getattr(channel, method)(*args, **kwargs)

    def _text_of(self, exc: BaseException) -> str:
        return diagnose(exc, self._settings).text

    def permissions(self) -> list[Permission]:
        """Declare a queue, bind it and consume, as every monitor does."""
        settings, exchange = self._settings, self._settings.event_exchange
        queue, queues = fresh_queue_name(settings), f"queues {settings.event_queue_prefix}.*"
        arguments = queue_arguments(
            ttl=settings.event_queue_ttl, expires=settings.event_queue_expires
        )
        ours = {"exclusive": True, "auto_delete": True, "arguments": arguments}
        consuming = {"no_ack": True, "callback": lambda _message: None}
        # fmt: off
        steps: tuple[tuple[str, str, tuple[str, ...], dict[str, Any]], ...] = (
            (f"configure {queues}", "queue_declare", (queue,), ours),
            (f"write to {queues} and read exchange {exchange}, to bind",
             "queue_bind", (queue, exchange, "#"), {}),
            (f"read from {queues}", "basic_consume", (queue,), consuming),
        )
        # fmt: on
        tried = []
        # The channel goes before the queue: its consumer would be notified of a deletion.
        with _channel_of(self._connection) as channel:
            for name, method, args, kwargs in steps:
                try:
                    getattr(channel, method)(*args, **kwargs)
                except AccessRefused as exc:
                    text = self._text_of(exc)
                    command = _grant(settings, self._vhost, topics=_TOPIC.match(text) is not None)
                    advice = allow(command, "it sets all of the user's rights there")
                    tried.append(Permission(name, text, advice))
                    break
                tried.append(Permission(name))
        with suppress(ChannelError):
            self._ask("queue_delete", queue)
        return tried

    def elsewhere(self) -> list[Elsewhere]:
        """Listen to exchanges that are not ours."""
        settings, bare = self._settings, self._vhost.strip("/")
        vhosts = dict.fromkeys((self._vhost, _DEFAULT_VHOST, bare, f"/{bare}"))
        exchanges = dict.fromkeys((settings.event_exchange, _DEFAULT_EXCHANGE))
        found = []
        for vhost, exchange in product(filter(None, vhosts), exchanges):
            words: tuple[str, ...] = ()
            where, urls = [], settings.addresses()
            if vhost != self._vhost:
                urls = [with_vhost(url, quote(vhost, safe="")) for url in urls]
                words += ("-b", mask(";".join(urls)))
                where.append(f"vhost {vhost}")
            if exchange != settings.event_exchange:
                words += ("--event-exchange", exchange)
                where.append(f"exchange {exchange}")
            if not words:
                continue
            # Most often there is no such vhost, or it is not for us.
            with suppress(OSError, EvtoolsError, *self._connection.connection_errors, ChannelError):
                there = replace(
                    settings, urls=";".join(urls), renewal=None, event_exchange=exchange,
                    routing_keys=("#",), enable_events=False,
                )  # fmt: skip
                alive = _listen(there)
                if alive is not None:
                    seen = "events arrive there" if alive else "the exchange is there, but quiet"
                    found.append(Elsewhere(", ".join(where), seen, words, alive))
        return found

    def orphans(self, names: Sequence[str]) -> OrphanSearch:
        """Look at the queues of these names: AMQP lists none."""
        if names:
            return OrphanSearch([self._orphan(name) for name in names])
        columns = ("name", "consumers", "messages")
        listed = _ctl("-q", "list_queues", "-p", self._vhost, *columns)
        begin = re.escape(self._settings.event_queue_prefix).replace("/", r"\/")
        unread = shlex.join(("awk", f"/^{begin}[.]/ && $2 == 0"))
        return OrphanSearch(gap="AMQP lists no queues", command=f"{listed} | {unread}")

    def _orphan(self, name: str) -> OrphanedQueue:
        if not name.startswith(f"{self._settings.event_queue_prefix}."):
            return OrphanedQueue("queue", name, "it is no event queue")
        try:
            declared = self._ask("queue_declare", name, passive=True)
        except ChannelError as exc:
            return OrphanedQueue("queue", name, self._text_of(exc))
        kept = f"it is being read (consumers: {declared.consumer_count})"
        if not declared.consumer_count:
            kept = self._is_foreign(name)
        return OrphanedQueue("queue", name, kept, messages=declared.message_count)

    def _is_foreign(self, name: str) -> str:
        # Why a queue without readers is not one of events, "" if it is.  Where it is declared
        # otherwise than by us or by Celery's own monitors, no message is touched: looking at
        # one marks it as redelivered, and may move it.
        ours = (self._settings.event_queue_ttl, self._settings.event_queue_expires)
        either = (False, True)
        for (ttl, expires), durable, auto_delete in product({ours, _CELERYS_LIFE}, either, either):
            arguments = queue_arguments(ttl=ttl, expires=expires)
            shape = {"arguments": arguments, "durable": durable, "auto_delete": auto_delete}
            # Without an end, queues of tasks are declared as durable.
            with suppress(ChannelError):
                if arguments or not durable:
                    self._ask("queue_declare", name, **shape)
                    break
        else:
            options = "--event-queue-ttl, --event-queue-expires"
            return f"it is not declared as event queues are ({options})"
        try:
            with _channel_of(self._connection) as channel:
                oldest = channel.basic_get(name)
                if oldest is not None:  # which stays where it is
                    channel.basic_reject(oldest.delivery_tag, requeue=True)
        except ChannelError as exc:
            return self._text_of(exc)
        if oldest is None or is_event(to_message(oldest), self._settings.accept):
            return ""
        return "its oldest message is no event"

    def remove(self, orphan: OrphanedQueue) -> str:
        """Delete a queue; RabbitMQ itself refuses one that has a consumer."""
        try:
            self._ask("queue_delete", orphan.name, if_unused=True, if_empty=not orphan.messages)
        except ChannelError as exc:
            return self._text_of(exc)
        return ""

    @staticmethod
    def remedy(diagnosis: Diagnosis, settings: ConnectionSettings, attempt: int = 0) -> str:
        if diagnosis.layer not in {"vhost", "limit"}:
            return ""
        with connect(settings, attempt=attempt) as connection:
            vhost = connection.virtual_host or _DEFAULT_VHOST
        if diagnosis.layer == "limit":
            return _raise_limit(diagnosis.text, settings, vhost)
        if diagnosis.text.endswith(" is down"):
            return _ctl("restart_vhost", "-p", vhost)
        if diagnosis.text.endswith(" not found"):
            return _ctl("-q", "list_vhosts")
        return _grant(settings, vhost)


# --- remedies -----------------------------------------------------------------------


def _ctl(*words: str) -> str:
    return shlex.join(("rabbitmqctl", *words))


def _grant(settings: ConnectionSettings, vhost: str, *, topics: bool = False) -> str:
    # What lets the user watch, and do no more.
    exchange, user = settings.event_exchange, _user(settings)
    if topics:
        # It must set what may be written, too; other users of the same name may be workers,
        # so it allows that.
        return _ctl("set_topic_permissions", "-p", vhost, user, exchange, ".*", ".*")
    names = "|".join(map(re.escape, sorted({settings.event_queue_prefix, exchange})))
    pattern = f"^({names})([.]|$)"
    return _ctl("set_permissions", "-p", vhost, user, pattern, pattern, pattern)


def _raise_limit(text: str, settings: ConnectionSettings, vhost: str) -> str:
    for begin, kind, name in _LIMITS:
        if text.startswith(begin):
            number = int(re.findall(r"\d+", text)[-1]) + _ROOM
            whose = (_user(settings),) if kind == "user" else ("-p", vhost)
            command = _ctl(f"set_{kind}_limits", *whose, json.dumps({name: number}))
            if kind == "user":
                return command
            # Setting one limit of a virtual host takes the others away.
            listed = _ctl("-q", "list_vhost_limits", *whose)
            return f"{listed}\nAll are set at once; add the others to:\n  {command}"
    return ""


def _user(settings: ConnectionSettings) -> str:
    return unquote(parse(settings.addresses()[0]).user) or "guest"


@contextmanager
def _channel_of(connection: Connection) -> Iterator[Any]:
    channel = connection.channel()
    try:
        yield channel
    finally:
        connection.maybe_close_channel(channel)


def _has_exchange(connection: Connection, name: str) -> bool:
    try:
        with _channel_of(connection) as channel:
            channel.exchange_declare(name, _TYPE, passive=True)
    except ChannelError as exc:
        # A missing exchange is not refused to us.
        return not isinstance(exc, NotFound)
    return True


def _listen(there: ConnectionSettings) -> bool | None:
    with connect(replace(there, heartbeat=0.0)) as connection:
        if not _has_exchange(connection, there.event_exchange):
            return None
    stream = subscribe(there)
    try:
        end = time.monotonic() + _ELSEWHERE_WAIT
        while (left := end - time.monotonic()) > 0:
            if stream.drain(left):
                return True
    finally:
        stream.close()
    return False
