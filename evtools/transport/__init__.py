"""Connections to brokers and what travels over them; kombu is used only here."""

from evtools.transport.connection import check_transport, connect, get_exchange, probe
from evtools.transport.control import Replies, broadcast, call
from evtools.transport.dispatcher import EventDispatcher
from evtools.transport.errors import explain
from evtools.transport.receiver import EventReceiver
from evtools.transport.settings import TLS, ConnectionSettings
from evtools.transport.source import Notice, Source, Statistics

# fmt: off
__all__ = [
    "TLS", "ConnectionSettings", "EventDispatcher", "EventReceiver", "Notice", "Replies", "Source",
    "Statistics", "broadcast", "call", "check_transport", "connect", "explain", "get_exchange",
    "probe",
]
# fmt: on
