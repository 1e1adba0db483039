"""A Redis server, plain and TLS, and a Sentinel that watches one."""

from __future__ import annotations

import itertools
import os
import socket
import ssl
import subprocess
from typing import TYPE_CHECKING

from servers.ports import HOST, free_port
from servers.process import PATIENCE, Process, broker_argv

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from servers.tls import Authority

# Every test takes a database of its own; kombu puts the number into channel names.
DATABASES = 2000

# name: (password, rules). The colon-and-slash password is for URLs.
USERS = {
    "operator": ("operator-secret", "~* &* +@all"),
    "odd": ("p@ss/w:rd %25", "~* &* +@all"),
    "listener": (
        "listener-secret",
        (
            "resetchannels &/*celeryev* ~_kombu.* -@all "
            "+psubscribe +subscribe +punsubscribe +unsubscribe +ping +select +info "
            "+client|setname +client|id +hello +sadd +smembers +srem"
        ),
    ),
    "nobody": ("nobody-secret", "resetchannels -@all +ping +select"),
}


def _argv(what: str) -> list[str]:
    # BROKERS_REDIS=valkey has Valkey take the place of Redis, in all tests.
    return broker_argv(f"{os.environ.get('BROKERS_REDIS') or 'redis'}-{what}")


class RedisServer:
    """A Redis on a port that stays the same over stop and start."""

    def __init__(
        self,
        folder: Path,
        *,
        authority: Authority | None = None,
        client_certificates: str = "optional",
        default_user: bool = True,
        lacks: Sequence[str] = (),
        directives: Sequence[str] = (),
    ) -> None:
        """Prepare a server without the commands that it `lacks`."""
        self.port = free_port()
        self.tls_port = free_port() if authority else 0
        self.authority = authority
        self.default_user = default_user
        self.users = {name: password for name, (password, _) in USERS.items()}
        self._databases = itertools.count(1)
        config = folder / "redis.conf"
        lines = [
            *self._settings(folder, client_certificates),
            *(f'rename-command {command} ""' for command in lacks),
            *directives,
        ]
        config.write_text("\n".join(lines) + "\n")
        self.process = Process(
            [*_argv("server"), str(config)], log=folder / "redis.log", cwd=folder
        )

    def _settings(self, folder: Path, client_certificates: str) -> list[str]:
        lines = [
            f"bind {HOST}",
            f"port {self.port}",
            f"databases {DATABASES}",
            f"dir {folder}",
            'save ""',
            "appendonly no",
            "daemonize no",
        ]
        for name, (password, rules) in USERS.items():
            lines.append(f'user {name} on ">{password}" {rules}')
        if not self.default_user:
            lines.append("user default off")
        if self.authority:
            lines += [
                f"tls-port {self.tls_port}",
                f"tls-cert-file {self.authority.server.cert}",
                f"tls-key-file {self.authority.server.key}",
                f"tls-ca-cert-file {self.authority.ca}",
                f"tls-auth-clients {client_certificates}",
            ]
        return lines

    @property
    def url(self) -> str:
        """The URL of database 0, without TLS."""
        return self.database_url(0)

    def database_url(self, number: int) -> str:
        """Return the URL of a database; it names a user when one is needed."""
        user = "" if self.default_user else "operator:operator-secret@"
        return f"redis://{user}{HOST}:{self.port}/{number}"

    def fresh_url(self) -> str:
        """Return the URL of a database that nobody has used yet."""
        return self.database_url(next(self._databases) % DATABASES)

    def fresh_tls_url(self) -> str:
        """Return the rediss:// URL of a database that nobody has used yet."""
        number = next(self._databases) % DATABASES
        return f"rediss://localhost:{self.tls_port}/{number}"

    def start(self) -> None:
        """Start, and return when it answers."""
        self.process.start()
        self.process.wait_ready(self._answers, deadline=PATIENCE)

    def _answers(self) -> bool:
        try:
            with socket.create_connection((HOST, self.port), timeout=1) as connection:
                connection.sendall(b"PING\r\n")
                answer = connection.recv(64)
        except OSError:
            return False
        return answer.startswith((b"+PONG", b"-NOAUTH", b"-ERR unknown"))

    def stop(self) -> None:
        """Shut down in an orderly way."""
        self.process.stop()

    def kill(self) -> None:
        """End it as the kernel does when memory is short."""
        self.process.kill()

    def restart(self) -> None:
        """Stop and start again on the same port."""
        self.stop()
        self.start()

    def freeze(self) -> None:
        """Stop it from answering; connections stay open."""
        self.process.freeze()

    def thaw(self) -> None:
        """Let it answer again."""
        self.process.thaw()

    def redis_cli(self, *args: str, database: int = 0) -> str:
        """Run one command and return what redis-cli prints, less its newline."""
        command = [*_argv("cli"), "-h", HOST, "-p", str(self.port)]
        if not self.default_user:
            command += ["--user", "operator", "--pass", "operator-secret"]
            command += ["--no-auth-warning"]
        done = subprocess.run(
            [*command, "-n", str(database), *args],
            capture_output=True,
            text=True,
            check=True,
            timeout=20,
        )
        return done.stdout.removesuffix("\n")

    def client_context(self) -> ssl.SSLContext:
        """Return a context that trusts the authority of this server."""
        assert self.authority is not None
        return ssl.create_default_context(cafile=str(self.authority.ca))


class Sentinel:
    """A Sentinel with a quorum of one, and the master it watches.

    With an `authority` it speaks TLS only, on the same port.
    """

    master_name = "evtools-master"

    def __init__(
        self,
        folder: Path,
        master: RedisServer,
        *,
        password: str = "",
        authority: Authority | None = None,
    ) -> None:
        self.master = master
        self.port = free_port()
        self._password = password
        self._authority = authority
        config = folder / "sentinel.conf"
        config.write_text("\n".join(self._settings(folder)) + "\n")
        self.process = Process(
            [*_argv("server"), str(config), "--sentinel"], log=folder / "sentinel.log", cwd=folder
        )

    def _settings(self, folder: Path) -> list[str]:
        name, master = self.master_name, self.master
        lines = [
            f"bind {HOST}",
            f"port {0 if self._authority else self.port}",
            f"dir {folder}",
            f"sentinel monitor {name} {HOST} {master.port} 1",
            f"sentinel down-after-milliseconds {name} 1000",
        ]
        if not master.default_user:
            lines += [
                f"sentinel auth-user {name} operator",
                f"sentinel auth-pass {name} operator-secret",
            ]
        if self._password:
            lines.append(f"requirepass {self._password}")
        if self._authority:
            lines += [
                f"tls-port {self.port}",
                f"tls-cert-file {self._authority.server.cert}",
                f"tls-key-file {self._authority.server.key}",
                f"tls-ca-cert-file {self._authority.ca}",
                "tls-auth-clients no",
            ]
        return lines

    @property
    def url(self) -> str:
        """The sentinel:// URL; it also needs master_name as a transport option."""
        return f"sentinel://{HOST}:{self.port}/0"

    def start(self) -> None:
        """Start, and return when it names the master."""
        self.process.start()
        self.process.wait_ready(self._knows_the_master, deadline=PATIENCE)

    def _knows_the_master(self) -> bool:
        login = f"AUTH {self._password}\r\n" if self._password else ""
        ask = f"{login}SENTINEL get-master-addr-by-name {self.master_name}\r\n"
        try:
            with self._connected() as connection:
                connection.sendall(ask.encode())
                answer = b""
                while str(self.master.port).encode() not in answer:
                    more = connection.recv(256)
                    if not more:
                        return False
                    answer += more
                return True
        except OSError:
            return False

    def _connected(self) -> socket.socket:
        plain = socket.create_connection((HOST, self.port), timeout=1)
        if self._authority is None:
            return plain
        context = ssl.create_default_context(cafile=str(self._authority.ca))
        return context.wrap_socket(plain, server_hostname="localhost")

    def stop(self) -> None:
        """Shut down in an orderly way; the master goes on."""
        self.process.stop()

    def kill(self) -> None:
        """End it at once; the master goes on."""
        self.process.kill()
