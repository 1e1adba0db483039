"""One process with a log file and a group of its own, and the one place that waits."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import threading
import time
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

T = TypeVar("T")

#: How long to wait for what should come, in seconds: a busy machine takes five and more to start
#: a program.
PATIENCE = 30.0
# Seconds between two looks at something that cannot notify us.
_INTERVAL = 0.02


class NotInTimeError(AssertionError):
    """What was waited for did not come before the deadline."""


def wait_until(
    predicate: Callable[[], T], *, deadline: float = PATIENCE, what: str | Callable[[], str]
) -> T:
    """Call predicate until it is true and return its value.

    `deadline` is in seconds from now. `what` says what was missing, and is called only
    when it is needed.
    """
    pause = threading.Event()
    end = time.monotonic() + deadline
    while not (value := predicate()):
        if time.monotonic() > end:
            text = what if isinstance(what, str) else what()
            raise NotInTimeError(f"not within {deadline:g} s: {text}")
        pause.wait(_INTERVAL)
    return value


def program(name: str, *elsewhere: str) -> str:
    """Return the path of a program, looking into the directories `elsewhere` first."""
    path = shutil.which(name, path=os.pathsep.join([*elsewhere, *os.get_exec_path()]))
    if path is None:
        raise AssertionError(
            f"{name} is not installed: the tests run against real servers. "
            "`make servers` installs them or says what to install."
        )
    return path


def broker_argv(name: str, *elsewhere: str) -> list[str]:
    """Return what starts a program of a broker: ours, or that in the root file system BROKERS_ROOT.

    Folders of tests have the same names in there; see scripts/rootfs.sh.
    """
    root = os.environ.get("BROKERS_ROOT", "")
    if not root:
        return [program(name, *elsewhere)]
    folders = (*elsewhere, "/usr/sbin", "/usr/bin")
    path = next((each for each in folders if os.path.lexists(f"{root}{each}/{name}")), None)
    assert path, f"{name} is not in {root}"
    return [program("chroot", "/usr/sbin"), root, f"{path}/{name}"]


class Process:
    """A program that runs in the background, in a process group of its own."""

    def __init__(
        self,
        argv: Sequence[str],
        *,
        log: Path,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> None:
        self.argv = list(argv)
        self.log = log
        self.env = dict(env) if env is not None else None
        self.cwd = cwd
        self._popen: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._popen is not None, f"{self.argv[0]} was not started"
        return self._popen.pid

    @property
    def running(self) -> bool:
        return self._popen is not None and self._popen.poll() is None

    @property
    def returncode(self) -> int | None:
        return None if self._popen is None else self._popen.poll()

    def start(self) -> None:
        assert not self.running, f"{self.argv[0]} runs already"
        with self.log.open("ab") as log:
            self._popen = subprocess.Popen(
                self.argv,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self.env,
                cwd=self.cwd,
                start_new_session=True,
            )

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the process itself."""
        os.kill(self.pid, number)

    def signal_group(self, number: signal.Signals) -> None:
        """Send a signal to the process and all it has started."""
        os.killpg(self.pid, number)

    def freeze(self) -> None:
        """Stop the processes as a hung machine does: connections stay, silent."""
        self.signal_group(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let frozen processes go on."""
        self.signal_group(signal.SIGCONT)

    def stop(self, *, deadline: float = 20) -> int:
        """Ask the process to end; return its exit status. Kill it when it does not."""
        assert self._popen is not None
        if self.running:
            self.thaw()
            self.signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._popen.wait(deadline)
        return self.kill()

    def kill(self) -> int:
        """End the whole group at once; return the exit status of its leader."""
        if self._popen is None:
            return 0
        with contextlib.suppress(ProcessLookupError):
            self.signal_group(signal.SIGKILL)
        return self._popen.wait()

    def log_tail(self, lines: int = 40) -> str:
        """Return the end of what the process wrote, for a failure message."""
        if not self.log.exists():
            return "(no log)"
        text = self.log.read_text(errors="replace")
        return "\n".join(text.splitlines()[-lines:])

    def wait_ready(self, predicate: Callable[[], bool], *, deadline: float) -> None:
        """Wait until the process serves; fail at once when it ends instead."""

        def look() -> bool:
            if not self.running:
                raise AssertionError(
                    f"{self.argv[0]} ended with {self.returncode}:\n{self.log_tail()}"
                )
            return predicate()

        wait_until(
            look,
            deadline=deadline,
            what=lambda: f"{self.argv[0]} ready; its log ends:\n{self.log_tail()}",
        )
