"""The factory of receivers, dispatchers and states for one cluster."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from evtools.state import State
from evtools.transport import ConnectionSettings, EventDispatcher, EventReceiver, connect
from evtools.transport.receiver import Handler


class Events:
    """Make receivers, dispatchers and states for one cluster.

    `broker` is a URL (or ConnectionSettings to start from); `settings` are
    fields of ConnectionSettings, such as `event_exchange` or `heartbeat`.
    """

    def __init__(self, broker: str | ConnectionSettings, **settings: Any) -> None:
        if isinstance(broker, str):
            broker = ConnectionSettings(urls=broker, source_of_url="the program")
        elif not isinstance(broker, ConnectionSettings):
            raise TypeError(
                f"Events takes a URL or ConnectionSettings, not a {type(broker).__name__}; "
                "EventReceiver takes a connection, or app="
            )
        self.settings = replace(broker, **settings)

    def Receiver(  # noqa: N802  (Celery's name)
        self, channel: Any = None, handlers: Mapping[str, Handler] | None = None, **kwargs: Any
    ) -> EventReceiver:
        """Return an EventReceiver with these settings; `handlers` may come first."""
        if isinstance(channel, Mapping):
            channel, handlers = None, channel
        if channel is not None:
            raise TypeError(
                f"a receiver of Events listens where its settings say, not on a "
                f"{type(channel).__name__}; EventReceiver takes a connection"
            )
        return EventReceiver(self.settings, handlers, **kwargs)

    def Dispatcher(self, connection: Any = None, **kwargs: Any) -> EventDispatcher:  # noqa: N802
        """Return an EventDispatcher on `connection` (or `channel=`).

        Without either it gets a connection of its own and closes it.
        """
        own = connection is None and kwargs.get("channel") is None
        return EventDispatcher(
            connect(self.settings) if own else connection,
            exchange=kwargs.pop("exchange", self.settings.event_exchange),
            owns_connection=own,
            **kwargs,
        )

    def State(self, **kwargs: Any) -> State:  # noqa: N802  (Celery's name)
        return State(**kwargs)
