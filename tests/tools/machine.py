"""A machine on which somebody types what the documents say."""

from __future__ import annotations

import contextlib
import shutil
import threading
from typing import TYPE_CHECKING

from tools.command import Command, Starter

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tools.flow import Sender

#: The broker that the documents name.
BROKER = "redis://localhost:6379/0"
#: How long a command may take, in seconds.
DEADLINE = 50


class Machine(Starter):
    """Somebody's machine: a home, a /usr/local, and what the documents have typed."""

    def __init__(self, folder: Path, replaced: dict[str, str]) -> None:
        super().__init__(folder)
        self.prefix = folder / "usr-local"
        self.home = folder / "home"
        self.home.mkdir()
        self._replaced = {
            **replaced,
            "/usr/local": str(self.prefix),
            "/etc/evtools": str(folder / "etc"),
            "/etc/systemd/system": str(folder / "systemd"),
        }
        commands = folder / "commands"
        commands.mkdir()
        _make_sudo(commands)
        self.path = f"{commands}:/usr/bin:/bin:/usr/sbin:/sbin"
        self.env = {"HOME": str(self.home), "PYTHONPATH": None}

    def download(self, dist: Path) -> None:
        """Have what a release publishes in the folder in which commands are typed."""
        for path in dist.iterdir():
            if path.is_file():
                shutil.copy(path, self.folder)

    def ours(self, text: str) -> str:
        """Put our addresses and folders into a text."""
        for theirs, replacement in self._replaced.items():
            text = text.replace(theirs, replacement)
        return text

    def shell(self, script: str, **how: object) -> Command:
        """Start a script as it stands in a document."""
        env = {**self.env, "PATH": self.path}
        words = ["/bin/bash", "-euo", "pipefail", "-c", self.ours(script)]
        started: Command = self.start(words, env=env, **how)
        return started

    def run(self, script: str) -> str:
        """Run a script to its good end; return its stdout."""
        shell = self.shell(script)
        assert shell.wait(deadline=DEADLINE) == 0, shell.stderr
        return shell.stdout

    def look_at(self, line: str) -> None:
        """Run evtop until it has heard of the worker."""
        screen = self.shell(line, terminal=(100, 28))
        screen.wait_screen("workers 1 online", deadline=DEADLINE)
        screen.type("Q")
        assert screen.wait() == 0, screen.stderr


def _make_sudo(folder: Path) -> None:
    """Write a `sudo` that changes nobody: what is written to is ours already."""
    sudo = folder / "sudo"
    sudo.write_text('#!/bin/sh\nexec "$@"\n')
    sudo.chmod(0o755)


def split(block: str) -> tuple[str, str]:
    """Return a block without its last line, and that, which takes a terminal."""
    *before, last = block.splitlines()
    return "\n".join(before), last


@contextlib.contextmanager
def beating(stream: Sender, hostname: str = "w1@app") -> Iterator[None]:
    """Have a worker send heartbeats meanwhile."""
    worker = {"hostname": hostname, "freq": 1.0, "active": 0, "processed": 0}
    over = threading.Event()

    def beat() -> None:
        while not over.wait(0.2):
            stream.send("worker-heartbeat", **worker)

    thread = threading.Thread(target=beat, name="heartbeats")
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
