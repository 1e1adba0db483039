"""A PostgreSQL of its own; as root it runs as nobody, for it refuses root."""

from __future__ import annotations

import itertools
import os
import pwd
import shutil
import subprocess
import tempfile
from glob import glob
from pathlib import Path

import psycopg

from servers.ports import HOST, free_port
from servers.process import Process, program

# Debian keeps the programs of a server where nobody looks for commands.
_PROGRAMS = tuple(sorted(glob("/usr/lib/postgresql/*/bin"), reverse=True))  # noqa: PTH207

#: Of the role `evcam`, which has to log in with it over TCP.
PASSWORD = "p@ss/w:rd"

_SETTINGS = {
    "fsync": "off",
    "full_page_writes": "off",
    "max_connections": "30",
    "shared_buffers": "32MB",
    # An odd zone, which nothing that we write may depend on.
    "timezone": "'America/St_Johns'",
    "deadlock_timeout": "100ms",
    "log_lock_waits": "on",
}
_ACCESS = "local all all trust\nhost all all 127.0.0.1/32 scram-sha-256\n"


class PostgresServer:
    """A PostgreSQL on a socket in a folder, and on a port, that stay the same."""

    def __init__(self) -> None:
        # The folders of pytest are for root alone.
        self.folder = Path(tempfile.mkdtemp(prefix="evtools-pg-"))
        self.port = free_port()
        self._names = itertools.count(1)
        self._user = _unprivileged()
        self.data = self.folder / "data"
        self.process = Process(
            [*self._user, program("postgres", *_PROGRAMS), "-D", str(self.data)],
            log=self.folder / "postgres.log",
            cwd=self.folder,
        )

    def start(self) -> None:
        """Start, made if need be, and return when it answers."""
        if not self.data.exists():
            self._make()
        self.process.start()
        self.process.wait_ready(self._answers, deadline=30)

    def _make(self) -> None:
        if self._user:
            nobody = pwd.getpwnam("nobody")
            os.chown(self.folder, nobody.pw_uid, nobody.pw_gid)
        done = subprocess.run(
            [
                *self._user,
                *(program("initdb", *_PROGRAMS), "-D", str(self.data)),
                *("-U", "postgres", "-E", "UTF8", "--locale=C", "--no-sync"),
                *("-A", "trust"),
            ],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            cwd=self.folder,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        (self.data / "pg_hba.conf").write_text(_ACCESS)
        settings = _SETTINGS | {
            "listen_addresses": f"'{HOST}'",
            "port": str(self.port),
            "unix_socket_directories": f"'{self.folder}'",
        }
        lines = [f"{name} = {value}\n" for name, value in settings.items()]
        (self.data / "postgresql.auto.conf").write_text("".join(lines))

    def _answers(self) -> bool:
        try:
            psycopg.connect(self.url("postgres"), connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    def url(self, database: str) -> str:
        """Return the URL of a database over the socket, as who may do anything."""
        return f"postgresql://postgres@/{database}?host={self.folder}&port={self.port}"

    def tcp_url(self, database: str, *, password: str = "p%40ss%2Fw%3Ard") -> str:
        """Return the URL of a database over TCP, as the role `evcam`."""
        return f"postgresql://evcam:{password}@{HOST}:{self.port}/{database}"

    def fresh_database(self) -> str:
        """Return the name of a database nobody has used."""
        name = f"test{next(self._names)}"
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        return name

    def fresh_url(self) -> str:
        """Return the URL of a database nobody has used."""
        return self.url(self.fresh_database())

    def make_role(self, database: str, *, owns: str = "") -> None:
        """Make the role `evcam`, which may connect to `database`.

        All it may write there is the schema that it `owns`.
        """
        with psycopg.connect(self.url(database), autocommit=True) as connection:
            known = connection.execute("SELECT FROM pg_roles WHERE rolname = 'evcam'")
            if known.fetchone() is None:
                connection.execute(f"CREATE ROLE evcam LOGIN PASSWORD '{PASSWORD}'")
            if owns:
                connection.execute(f"CREATE SCHEMA {owns} AUTHORIZATION evcam")

    def stop(self) -> None:
        """Shut down at once but in an orderly way."""
        if self.process.running:
            self.process.signal(2)  # SIGINT: a fast shutdown
        self.process.stop()

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

    def end(self) -> None:
        """Leave nothing behind."""
        self.process.kill()
        shutil.rmtree(self.folder)


def _unprivileged() -> list[str]:
    """Return what to put before a command so that root does not run it."""
    if os.geteuid() != 0:
        return []
    nobody = pwd.getpwnam("nobody")
    return [
        *(program("setpriv"), f"--reuid={nobody.pw_uid}", f"--regid={nobody.pw_gid}"),
        *("--clear-groups", "--"),
    ]
