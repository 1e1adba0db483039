"""evcam, started as a process of its own, in the foreground or detached."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from servers.process import PATIENCE, wait_until
from tools.command import ROOT, Starter

if TYPE_CHECKING:
    from collections.abc import Mapping

EVCAM = (sys.executable, "-m", "evtools", "cam")


class Ended(NamedTuple):
    """How a command ended and what it said."""

    status: int
    out: str
    err: str


class EvcamStarter(Starter):
    """Starts evcam in the foreground: `evcam("-c", "mod.Camera", "-b", url)`."""

    tool = "cam"


class Daemon:
    """An evcam that detaches, in a folder that every user can enter."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.pidfile = folder / "evcam.pid"
        self.logfile = folder / "evcam.log"
        self._started: list[int] = []

    def run(self, *args: str | Path, env: Mapping[str, str] | None = None) -> Ended:
        """Run evcam with any arguments until it returns."""
        ended = subprocess.run(
            [*EVCAM, *map(str, args)],
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": str(ROOT), **(env or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=50,
        )
        return Ended(ended.returncode, ended.stdout, ended.stderr)

    def start(self, *args: str | Path, **how: Any) -> Ended:
        """Start evcam detached, with pidfile and log file."""
        ended = self.run(
            *("--detach", "--pidfile", self.pidfile, "--logfile", self.logfile), *args, **how
        )
        if self.number:
            self._started.append(self.number)
        return ended

    def stop(self) -> Ended:
        """Ask `evcam stop` to end it."""
        return self.run("stop", "--pidfile", self.pidfile)

    @property
    def number(self) -> int:
        """The process in the pidfile; 0 if there is none."""
        with contextlib.suppress(FileNotFoundError, ValueError):
            return int(self.pidfile.read_text())
        return 0

    @property
    def log(self) -> str:
        """What the log file has."""
        return self.logfile.read_text()

    def wait_log(self, wanted: str, *, deadline: float = PATIENCE) -> str:
        """Wait until the log has a text, and return all of it."""
        wait_until(
            lambda: wanted in self.log,
            deadline=deadline,
            what=lambda: f"{wanted!r} in the log:\n{self.log}",
        )
        return self.log

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        os.kill(self.number, number)

    def wait_gone(self, number: int, *, deadline: float = PATIENCE) -> None:
        """Wait until a process has ended."""
        wait_until(
            lambda: not is_there(number),
            deadline=deadline,
            what=lambda: f"the end of {number}; its log:\n{self.log}",
        )

    def end(self) -> None:
        """Leave nothing behind."""
        for number in self._started:
            if is_there(number):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(number, signal.SIGKILL)


def is_there(number: int) -> bool:
    """Return whether a process runs; one that has ended and waits does not."""
    try:
        status = Path(f"/proc/{number}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return "\nState:\tZ" not in status


def facts(number: int) -> dict[str, str]:
    """Return what the kernel says of a process."""
    lines = Path(f"/proc/{number}/status").read_text().splitlines()
    found = {}
    for line in lines:
        name, _, value = line.partition(":")
        found[name] = " ".join(value.split())
    return found
