"""A RabbitMQ node with an epmd of its own, plain and TLS."""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
import os
from typing import TYPE_CHECKING, Any

import amqp

from servers.ports import HOST, free_port, is_open
from servers.process import Process, broker_argv, wait_until
from servers.rabbitmqctl import SCRIPTS, Control

if TYPE_CHECKING:
    from pathlib import Path

    from servers.tls import Authority

# A node starts in 5 to 10 s on two idle cores.
_START_DEADLINE = 50

_ALL = {"configure": ".*", "write": ".*", "read": ".*"}
_EVENT_QUEUES = r"^(celeryev|evtools|evdump)"

# name: (password, tags, permissions on "/")
USERS: dict[str, tuple[str, str, dict[str, str] | None]] = {
    "guest": ("guest", "administrator", _ALL),
    "odd": ("p@ss/w:rd %25", "", _ALL),
    # May bind and read event queues and declare nothing but them.
    "listener": (
        "listener-secret",
        "",
        {"configure": _EVENT_QUEUES, "write": _EVENT_QUEUES, "read": ".*"},
    ),
    "nobody": ("nobody-secret", "", None),
}

# Besides "/"; guest may use all of them.
VHOSTS = ("staging", "team/queue")


class RabbitMQServer:
    """A RabbitMQ on a port that stays the same over stop and start."""

    def __init__(self, folder: Path, *, authority: Authority | None = None) -> None:
        self.folder = folder
        self.port = free_port()
        self.tls_port = free_port() if authority else 0
        self.authority = authority
        self.node = f"evtools{self.port}@localhost"
        self.users = {name: password for name, (password, *_) in USERS.items()}
        self._exchanges = itertools.count(1)
        self._epmd_port = free_port()
        self._write_settings()
        env = self._environment()
        self._control = Control(folder, env)
        self.epmd = Process(
            [*broker_argv("epmd"), "-port", str(self._epmd_port), "-address", HOST],
            log=folder / "epmd.log",
            env=env,
        )
        self.process = Process(
            broker_argv("rabbitmq-server", *SCRIPTS),
            log=folder / "rabbitmq.log",
            env=env,
            cwd=folder,
        )

    def _write_settings(self) -> None:
        lines = [
            f"listeners.tcp.1 = {HOST}:{self.port}",
            "loopback_users = none",
            "disk_free_limit.absolute = 1KB",
            "vm_memory_high_watermark.relative = 0.9",
            "log.console = true",
            "log.console.level = info",
            "log.file = false",
            f"load_definitions = {self.folder / 'definitions.json'}",
            # One more setting, such as that transient queues are refused.
            os.environ.get("BROKERS_RABBITMQ", ""),
        ]
        if self.authority:
            lines += [
                f"listeners.ssl.1 = {HOST}:{self.tls_port}",
                f"ssl_options.cacertfile = {self.authority.ca}",
                f"ssl_options.certfile = {self.authority.server.cert}",
                f"ssl_options.keyfile = {self.authority.server.key}",
                "ssl_options.verify = verify_peer",
                "ssl_options.fail_if_no_peer_cert = false",
            ]
        write = self.folder.joinpath
        write("rabbitmq.conf").write_text("\n".join(lines) + "\n")
        write("advanced.config").write_text("[].\n")
        write("enabled_plugins").write_text("[].\n")
        write("rabbitmq-env.conf").write_text("")
        write("definitions.json").write_text(json.dumps(_definitions()))

    def _environment(self) -> dict[str, str]:
        path = os.environ["PATH"]
        return {
            "PATH": f"{path}:/usr/sbin:/usr/local/sbin",
            "HOME": str(self.folder),
            "LANG": "C.UTF-8",
            "ERL_EPMD_PORT": str(self._epmd_port),
            "ERL_EPMD_ADDRESS": HOST,
            "ERL_AFLAGS": "-start_epmd false -kernel inet_dist_use_interface {127,0,0,1}",
            "RABBITMQ_NODENAME": self.node,
            "RABBITMQ_DIST_PORT": str(free_port()),
            "RABBITMQ_CONF_ENV_FILE": str(self.folder / "rabbitmq-env.conf"),
            "RABBITMQ_CONFIG_FILE": str(self.folder / "rabbitmq.conf"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(self.folder / "advanced.config"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.folder / "enabled_plugins"),
            "RABBITMQ_MNESIA_BASE": str(self.folder / "mnesia"),
            "RABBITMQ_LOG_BASE": str(self.folder / "log"),
            "RABBITMQ_LOGS": "-",
            "RABBITMQ_GENERATED_CONFIG_DIR": str(self.folder / "generated"),
            "RABBITMQ_SCHEMA_DIR": str(self.folder / "schema"),
            # Have the script become the node instead of waiting for it: one process,
            # which gets our signals itself.
            "RABBITMQ_ALLOW_INPUT": "1",
            "RABBITMQ_SERVER_START_ARGS": "-noinput",
            # Nor does it turn round and round while it waits: others need the cores.
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": (
                "+S 2:2 +A 8 +sbwt none +sbwtdcpu none +sbwtdio none"
            ),
        }

    @property
    def url(self) -> str:
        """The URL of the default virtual host, without TLS."""
        return self.vhost_url("")

    def vhost_url(self, vhost: str, *, user: str = "guest", password: str = "") -> str:
        """Return a URL; `vhost` as it stands in one (escaped), empty for "/"."""
        return f"amqp://{user}:{password or user}@{HOST}:{self.port}/{vhost or '/'}"

    @property
    def tls_url(self) -> str:
        """The amqps:// URL of the default virtual host."""
        return f"amqps://guest:guest@localhost:{self.tls_port}//"

    def start(self) -> None:
        """Start, and return when one can log in."""
        if not self.epmd.running:
            self.epmd.start()
            # A node that does not find it ends at once.
            self.epmd.wait_ready(lambda: is_open(self._epmd_port), deadline=_START_DEADLINE)
        self.process.start()
        self.process.wait_ready(self._answers, deadline=_START_DEADLINE)

    def _answers(self) -> bool:
        connection = amqp.Connection(f"{HOST}:{self.port}", connect_timeout=2)
        try:
            connection.connect()
        except (OSError, amqp.AMQPError):
            return False
        finally:
            connection.close()
        return True

    def stop(self) -> None:
        """Shut down in an orderly way; clients are told."""
        self.process.stop()

    def kill(self) -> None:
        """End it as the kernel does when memory is short."""
        self.process.kill()

    def end(self) -> None:
        """Leave nothing behind."""
        self._control.end()
        self.kill()
        self.epmd.kill()

    def freeze(self) -> None:
        """Stop it from answering; connections stay open."""
        self.process.freeze()

    def thaw(self) -> None:
        """Let it answer again."""
        self.process.thaw()

    def rabbitmqctl(self, *args: str) -> str:
        """Run a command of rabbitmqctl and return what it prints."""
        status, text = self._control.run("-n", self.node, "--quiet", *args, deadline=50)
        assert status == 0, text
        return text

    def list_queues(self, *columns: str, vhost: str = "/") -> list[dict[str, Any]]:
        """Return the queues of a virtual host, with name and the given columns."""
        return self._list("list_queues", *(columns or ("name",)), vhost=vhost)

    def list_connections(self, *columns: str) -> list[dict[str, Any]]:
        """Return the open connections, with the given columns."""
        return self._list("list_connections", *(columns or ("pid", "user")))

    def _list(self, command: str, *args: str, vhost: str = "") -> list[dict[str, Any]]:
        where = ("-p", vhost) if vhost else ()
        text = self.rabbitmqctl(command, *where, "--formatter", "json", *args)
        listed: list[dict[str, Any]] = json.loads(text)
        return listed

    def wait_for_queues(self, count: int, prefix: str) -> list[str]:
        """Wait until as many queues have the prefix; return their names."""
        names: list[str] = []

        def look() -> bool:
            names[:] = [queue["name"] for queue in self.list_queues()]
            names[:] = [name for name in names if name.startswith(prefix)]
            return len(names) == count

        wait_until(look, deadline=40, what=lambda: f"{count} queues named {prefix}*, but {names}")
        return names


def _definitions() -> dict[str, Any]:
    vhosts = ["/", *VHOSTS]
    permissions = [
        {"user": name, "vhost": "/", **allowed}
        for name, (_, _, allowed) in USERS.items()
        if allowed
    ]
    permissions += [{"user": "guest", "vhost": vhost, **_ALL} for vhost in VHOSTS]
    return {
        "vhosts": [{"name": vhost} for vhost in vhosts],
        "users": [
            {"name": name, "tags": tags, **_hashed(password)}
            for name, (password, tags, _) in USERS.items()
        ],
        "permissions": permissions,
    }


def _hashed(password: str) -> dict[str, str]:
    salt = b"salt"
    digest = hashlib.sha256(salt + password.encode()).digest()
    return {
        "password_hash": base64.b64encode(salt + digest).decode(),
        "hashing_algorithm": "rabbit_password_hashing_sha256",
    }
