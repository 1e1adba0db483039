"""Whether a broker can be reached now, over a connection made for that."""

from dataclasses import replace

from evtools.transport.connection import connect, explain
from evtools.transport.settings import ConnectionSettings


def probe(settings: ConnectionSettings) -> None:
    """Log in to a broker and leave; raise BrokerUnavailable if none lets us in.

    A connection that is there for long may be dead without anybody knowing.
    """
    settings = replace(settings, heartbeat=0.0)
    attempt = 0
    while True:
        try:
            return _visit(settings, attempt)
        except Exception as error:
            attempt += 1
            if attempt >= len(settings.addresses()):
                raise explain(error, settings) from error


def _visit(settings: ConnectionSettings, attempt: int) -> None:
    connection = connect(settings, attempt=attempt)
    try:
        # Of Redis, a connection is not made before there is something to say.
        connection.default_channel.close()
    finally:
        connection.release()
