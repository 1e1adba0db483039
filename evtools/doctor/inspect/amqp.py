"""What RabbitMQ and other AMQP 0-9-1 brokers let us see of themselves."""

import json
import re
import shlex
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from itertools import product
from typing import Any, Final
from urllib.parse import quote, unquote

from amqp.exceptions import AccessRefused, ChannelError, NotFound, PreconditionFailed
from kombu.connection import Connection

from evtools.doctor.inspect.base import (
    Elsewhere,
    Examination,
    Ground,
    Leftover,
    Right,
    Search,
    is_event,
)
from evtools.errors import EvtoolsError
from evtools.transport.connection import connect
from evtools.transport.errors import diagnose
from evtools.transport.settings import ConnectionSettings
from evtools.transport.streams.amqp import taken
from evtools.transport.subscription import fresh_queue_name, subscribe
from evtools.transport.url import mask, parse, with_vhost
from evtools.wire import Message, exchange_type, queue_arguments

_TYPE: Final = exchange_type("amqp")
_DEFAULT_EXCHANGE: Final = "celeryev"
_DEFAULT_VHOST: Final = "/"
#: Celery's own event_queue_ttl and event_queue_expires, in seconds.
_LIFE: Final = (5.0, 60.0)
#: How long to listen in another place, in seconds: a heartbeat and a bit.
_ELSEWHERE_WAIT: Final = 2.5

#: How RabbitMQ begins to tell of a limit, whose it is, and what it is called.
_LIMITS: Final = (
    ("access to vhost '", "vhost", "max-connections"),
    ("connection refused for user '", "user", "max-connections"),
    ("number of channels opened for user '", "user", "max-channels"),
    ("cannot declare queue '", "vhost", "max-queues"),
)
#: By how much to raise a limit.
_ROOM: Final = 10
#: How RabbitMQ begins to refuse what topic permissions do not allow.
_TOPIC: Final = "access to topic '"

_Channel = Any


class AMQPExamination(Examination):
    """Ask over a connection; each question has a channel, which refusals close."""

    keeps_queues = True

    def __init__(self, connection: Connection, settings: ConnectionSettings) -> None:
        connection.connect()
        self._connection = connection
        self._settings = settings
        told = connection.connection.server_properties
        self.server = f"{_text(told, 'product')} {_text(told, 'version')}".strip()
        self._vhost: str = connection.virtual_host or _DEFAULT_VHOST

    def ground(self) -> Ground:
        """Look at the exchange passively, then see whether ours is the same."""
        name = self._settings.event_exchange
        where = f"exchange {name} of type {_TYPE} in vhost {self._vhost}"
        if not self._has_exchange(name):
            listed = ("rabbitmqctl", "-q", "list_exchanges", "-p", self._vhost)
            return Ground(where, exists=False, command=shlex.join(listed))
        try:
            self._ask(
                lambda channel: channel.exchange_declare(
                    name, _TYPE, durable=True, auto_delete=False
                )
            )
        except PreconditionFailed as exc:
            return Ground(where, clash=diagnose(exc, self._settings).text)
        except AccessRefused:
            return Ground(where, may_declare=False)
        return Ground(where)

    def has_mailboxes(self) -> bool:
        """Return whether the exchange of remote control is there."""
        return self._has_exchange(f"{self._settings.control_exchange}.pidbox")

    def _has_exchange(self, name: str) -> bool:
        return _has_exchange(self._connection, name)

    def _ask(self, question: Callable[[_Channel], Any]) -> Any:
        return _ask(self._connection, question)

    def rights(self) -> list[Right]:
        """Declare a queue, bind it and consume, as every monitor does."""
        return list(self._try())

    def _try(self) -> Iterator[Right]:
        settings = self._settings
        queue = fresh_queue_name(settings)
        queues = f"queues {settings.event_queue_prefix}.*"
        exchange = settings.event_exchange
        steps: tuple[tuple[str, Callable[[_Channel], Any]], ...] = (
            (
                f"configure {queues}",
                lambda channel: channel.queue_declare(
                    queue,
                    exclusive=True,
                    auto_delete=True,
                    arguments=queue_arguments(
                        ttl=settings.event_queue_ttl, expires=settings.event_queue_expires
                    ),
                ),
            ),
            (
                f"write to {queues} and read exchange {exchange}, to bind",
                lambda channel: channel.queue_bind(queue, exchange, "#"),
            ),
            (
                f"read from {queues}",
                lambda channel: channel.basic_consume(queue, no_ack=True, callback=_ignore),
            ),
        )
        channel = self._connection.channel()
        for name, step in steps:
            try:
                step(channel)
            except AccessRefused as exc:
                why = diagnose(exc, settings).text
                give = grant_topics if why.startswith(_TOPIC) else grant
                yield Right(
                    name,
                    granted=False,
                    why=why,
                    grant=give(settings, self._vhost),
                    caveat="it sets all of the user's rights there",
                )
                break
            yield Right(name, granted=True)
        # In this order: a consumer whose queue is deleted is told so.
        self._connection.maybe_close_channel(channel)
        with suppress(ChannelError):
            self._ask(lambda channel: channel.queue_delete(queue))

    def begin(self) -> None:
        """Do nothing: AMQP lets nobody overhear."""

    def elsewhere(self) -> list[Elsewhere]:
        """Listen in the places that are most often mistaken for ours."""
        return list(self._heard())

    def _heard(self) -> Iterator[Elsewhere]:
        for vhost in self._vhosts():
            for exchange in self._exchanges():
                found = self._visit(vhost, exchange)
                if found is not None:
                    yield found

    def _vhosts(self) -> list[str]:
        bare = self._vhost.strip("/")
        tries = (self._vhost, _DEFAULT_VHOST, bare, f"/{bare}")
        return [vhost for vhost in dict.fromkeys(tries) if vhost]

    def _exchanges(self) -> list[str]:
        return list(dict.fromkeys((self._settings.event_exchange, _DEFAULT_EXCHANGE)))

    def _visit(self, vhost: str, exchange: str) -> Elsewhere | None:
        """Listen to one exchange that is not ours; None if there is nothing."""
        words: tuple[str, ...] = ()
        where = []
        urls = self._settings.addresses()
        if vhost != self._vhost:
            urls = [with_vhost(url, quote(vhost, safe="")) for url in urls]
            words += ("-b", mask(";".join(urls)))
            where.append(f"vhost {vhost}")
        if exchange != self._settings.event_exchange:
            words += ("--event-exchange", exchange)
            where.append(f"exchange {exchange}")
        if not words:
            return None
        there = replace(
            self._settings,
            urls=";".join(urls),
            renewal=None,
            event_exchange=exchange,
            routing_keys=("#",),
            enable_events=False,
        )
        try:
            alive = _listen(there)
        except (OSError, EvtoolsError, *self._connection.connection_errors, ChannelError):
            return None  # most often there is no such vhost, or it is not for us
        if alive is None:
            return None
        seen = "events arrive there" if alive else "the exchange is there, but quiet"
        return Elsewhere(", ".join(where), seen, words, alive)

    def leftovers(self, names: Sequence[str]) -> Search:
        """Look at the queues of these names: AMQP lists none."""
        if names:
            return Search([self._leftover(name) for name in names])
        return Search(gap="AMQP lists no queues", command=self._list_command())

    def _list_command(self) -> str:
        """Return what lists queues that nobody reads, on the broker's host."""
        columns = ("name", "consumers", "messages")
        listed = ("rabbitmqctl", "-q", "list_queues", "-p", self._vhost, *columns)
        begin = re.escape(self._settings.event_queue_prefix).replace("/", r"\/")
        unread = f"/^{begin}[.]/ && $2 == 0"
        return f"{shlex.join(listed)} | {shlex.join(('awk', unread))}"

    def _leftover(self, name: str) -> Leftover:
        if not name.startswith(f"{self._settings.event_queue_prefix}."):
            return Leftover("queue", name, free=False, why="it is no event queue")
        try:
            told = self._ask(lambda channel: channel.queue_declare(name, passive=True))
        except ChannelError as exc:
            return Leftover("queue", name, free=False, why=diagnose(exc, self._settings).text)
        consumers = int(told.consumer_count)
        if consumers:
            why = f"it is being read (consumers: {consumers})"
        else:
            why = self._is_foreign(name)
        return Leftover("queue", name, free=not why, why=why, messages=told.message_count)

    def _is_foreign(self, name: str) -> str:
        """Return why a queue that nobody reads is not one of events, "" if it is.

        Of one that was declared otherwise no message is touched: to have looked at
        one marks it as redelivered, and may give it another place.
        """
        if not any(map(partial(self._is_declared, name), self._shapes())):
            return (
                "it is not declared as event queues are (--event-queue-ttl, --event-queue-expires)"
            )
        try:
            oldest = self._ask(lambda channel: _peek(channel, name))
        except ChannelError as exc:
            return diagnose(exc, self._settings).text
        if oldest is None or is_event(oldest, self._settings.accept):
            return ""
        return "its oldest message is no event"

    def _shapes(self) -> Iterator[dict[str, Any]]:
        """Yield how event queues are declared: by us, and by Celery's own monitors."""
        settings = self._settings
        ours = (settings.event_queue_ttl, settings.event_queue_expires)
        for ttl, expires in {ours, _LIFE}:
            arguments = queue_arguments(ttl=ttl, expires=expires)
            for durable, auto_delete in product((False, True), repeat=2):
                # Without an end, queues of tasks are declared like that.
                if arguments or not durable:
                    yield {"arguments": arguments, "durable": durable, "auto_delete": auto_delete}

    def _is_declared(self, name: str, shape: dict[str, Any]) -> bool:
        try:
            self._ask(lambda channel: channel.queue_declare(name, **shape))
        except ChannelError:
            return False
        return True

    def remove(self, leftover: Leftover) -> str:
        """Delete a queue; RabbitMQ itself refuses one that has a consumer."""
        how = {"if_unused": True, "if_empty": not leftover.messages}
        try:
            self._ask(lambda channel: channel.queue_delete(leftover.name, **how))
        except ChannelError as exc:
            return diagnose(exc, self._settings).text
        return ""

    def close(self) -> None:
        """Release the connection."""
        with suppress(OSError, *self._connection.connection_errors):
            self._connection.release()


def grant(settings: ConnectionSettings, vhost: str) -> str:
    """Return the command that lets the user watch, and do no more."""
    names = {settings.event_queue_prefix, settings.event_exchange}
    pattern = f"^({'|'.join(map(re.escape, sorted(names)))})([.]|$)"
    command = ("rabbitmqctl", "set_permissions", "-p", vhost, _user(settings))
    return shlex.join((*command, pattern, pattern, pattern))


def grant_topics(settings: ConnectionSettings, vhost: str) -> str:
    """Return the command that lets the user bind any key to the event exchange.

    It must set what may be written, too; other users of the same name may be
    workers, so it allows that.
    """
    command = ("rabbitmqctl", "set_topic_permissions", "-p", vhost)
    return shlex.join((*command, _user(settings), settings.event_exchange, ".*", ".*"))


def raise_limit(told: str, settings: ConnectionSettings, vhost: str) -> str:
    """Return what makes room below the limit of which RabbitMQ `told`.

    To set one limit of a virtual host takes the others away.
    """
    for begin, kind, name in _LIMITS:
        if told.startswith(begin):
            number = int(re.findall(r"\d+", told)[-1]) + _ROOM
            whose = (_user(settings),) if kind == "user" else ("-p", vhost)
            limits = json.dumps({name: number})
            command = shlex.join(("rabbitmqctl", f"set_{kind}_limits", *whose, limits))
            if kind == "user":
                return command
            listed = shlex.join(("rabbitmqctl", "-q", "list_vhost_limits", *whose))
            return f"{listed}\nAll are set at once; add the others to:\n  {command}"
    return ""


def _user(settings: ConnectionSettings) -> str:
    return unquote(parse(settings.addresses()[0]).user) or "guest"


def _peek(channel: _Channel, queue: str) -> Message | None:
    """Return the oldest message of a queue, which stays where it is."""
    message = channel.basic_get(queue)
    if message is None:
        return None
    channel.basic_reject(message.delivery_tag, requeue=True)
    return taken(message)


def _ask(connection: Connection, question: Callable[[_Channel], Any]) -> Any:
    channel = connection.channel()
    try:
        return question(channel)
    finally:
        connection.maybe_close_channel(channel)


def _ignore(message: Any) -> None:
    """Let an event go that came before we had left again."""


def _has_exchange(connection: Connection, name: str) -> bool:
    def look(channel: _Channel) -> None:
        channel.exchange_declare(name, _TYPE, passive=True)

    try:
        _ask(connection, look)
    except ChannelError as exc:
        # What is not there is not refused to us.
        return not isinstance(exc, NotFound)
    return True


def _listen(there: ConnectionSettings) -> bool | None:
    """Return whether events arrive where `there` leads, None without an exchange."""
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


def _text(properties: Any, name: str) -> str:
    value = properties.get(name, "")
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
