"""evdump, started as a process of its own."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from tools.command import Command, Starter, installed

if TYPE_CHECKING:
    from pathlib import Path


class Evdump(Command):
    """A running evdump."""

    def wait_ready(self, *, deadline: float = 15) -> str:
        """Wait until it says on stderr that it listens; not for use with -q."""
        return self.wait_stderr("listening on", deadline=deadline)


class EvdumpStarter(Starter):
    """Starts evdump with the given arguments, in a folder of its own.

    `evdump("-b", url, terminal=(80, 24), env={"NO_COLOR": "1"}, stdin=True)`
    """

    made = Evdump

    def __call__(self, *args: str | Path, **how: Any) -> Evdump:
        """Start one."""
        started: Evdump = self.start([*_command(), *map(str, args)], **how)
        return started


def _command() -> list[str]:
    script = installed("evdump")
    if script.exists():
        return [str(script)]
    return [sys.executable, "-m", "evtools", "dump"]
