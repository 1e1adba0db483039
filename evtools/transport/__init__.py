"""Connections to brokers and what travels over them; kombu is used only here."""

from typing import TYPE_CHECKING, TypeAlias

from evtools.transport.connection import check_transport, connect, get_exchange, probe
from evtools.transport.control import Replies, broadcast, call
from evtools.transport.dispatcher import EventDispatcher
from evtools.transport.errors import explain
from evtools.transport.receiver import EventReceiver
from evtools.transport.settings import TLS, ConnectionSettings
from evtools.transport.source import Notice, Statistics

if TYPE_CHECKING:
    from evtools.transport.receiver import ReceiverGroup
    from evtools.transport.recording.database import DatabaseReader
    from evtools.transport.recording.reader import RecordingReader

#: Where events come from: a broker, which may be simulated, a recording, or evcam's database.
Source: TypeAlias = "EventReceiver | ReceiverGroup | RecordingReader | DatabaseReader"

# fmt: off
__all__ = [
    "TLS", "ConnectionSettings", "EventDispatcher", "EventReceiver", "Notice", "Replies", "Source",
    "Statistics", "broadcast", "call", "check_transport", "connect", "explain", "get_exchange",
    "probe",
]
# fmt: on
