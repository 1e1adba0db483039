"""The mailboxes in which the simulated workers receive remote control."""

from collections.abc import Iterable
from functools import partial
from typing import Any

from kombu.connection import Connection
from kombu.pidbox import Node

from evtools.transport.control import mailbox
from evtools.transport.demo.commands import SILENT, answer
from evtools.transport.demo.worker import DemoWorker
from evtools.transport.settings import ConnectionSettings


class Mailboxes:
    """Listens for the commands that are sent to `workers`, and lets them answer."""

    def __init__(
        self, connection: Connection, settings: ConnectionSettings, workers: Iterable[DemoWorker]
    ) -> None:
        self._connection = connection
        box = mailbox(connection, settings)
        channel = connection.channel()
        for worker in workers:
            node = box.Node(worker.hostname, channel=channel)
            node.listen(callback=partial(self._receive, node, worker))

    def serve(self, timeout: float) -> None:
        """Let the workers obey what comes within `timeout` seconds."""
        try:
            self._connection.drain_events(timeout=timeout)
        except TimeoutError:
            return

    @staticmethod
    def _receive(node: Node, worker: DemoWorker, body: Any, _: Any) -> None:
        if not isinstance(body, dict) or not worker.up:
            return
        destination = body.get("destination")
        if destination and worker.hostname not in destination:
            return
        command = body.get("method", "")
        reply = answer(worker, command, body.get("arguments") or {})
        reply_to = body.get("reply_to")
        if reply_to and command not in SILENT:
            where = reply_to["exchange"], reply_to["routing_key"]
            node.reply({worker.hostname: reply}, *where, body.get("ticket"))
