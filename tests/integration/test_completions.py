"""What a user sees at a tab, in each shell that we write completions for."""

from __future__ import annotations

import contextlib
import os
import pty
import select
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from evtools.cli.completion import FILES, script
from tools.command import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

COMPLETIONS = ROOT / "packaging" / "completions"
#: The programs, which click's scripts call at a tab.
BIN = Path(sys.executable).parent
_DEADLINE = 15.0
_PROMPT = "ready> "
# How each shell is started without what the user has set up, and reads our file.
SHELLS = {
    "bash": (["bash", "--norc", "--noprofile", "-i"], "source '{file}'"),
    "zsh": (
        ["zsh", "-f", "-i"],
        "bindkey -e; autoload -Uz compinit; compinit -D -u; source '{file}'",
    ),
}


class Shell:
    """A shell on a terminal of its own."""

    def __init__(self, command: list[str], folder: Path) -> None:
        # No terminfo: what comes back is text and little else.
        path = f"{BIN}:/usr/bin:/bin"
        environ = {"TERM": "dumb", "PS1": _PROMPT, "PATH": path, "HOME": str(folder)}
        self.pid, self.terminal = pty.fork()
        if self.pid == 0:
            os.chdir(folder)
            os.execve(shutil.which(command[0]) or "", command, environ)
        self.read_until(_PROMPT)

    def read_until(self, wanted: str) -> str:
        """Return what the shell writes until the text is among it."""
        text, deadline = "", time.monotonic() + _DEADLINE
        while wanted not in text:
            left = deadline - time.monotonic()
            ready, _, _ = select.select([self.terminal], [], [], max(0.0, left))
            assert ready, f"no {wanted!r} in {text!r}"
            text += os.read(self.terminal, 65536).decode(errors="replace")
        return text

    def type(self, keys: str) -> None:
        os.write(self.terminal, keys.encode())

    def run(self, line: str) -> None:
        # The prompt comes after the echo of the line that holds no prompt.
        self.type(f"{line}\n")
        self.read_until(_PROMPT)

    def end(self) -> None:
        os.close(self.terminal)
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)


@pytest.fixture(scope="module", params=SHELLS)
def shell(request, tmp_path_factory) -> Iterator[Shell]:
    command, setup = SHELLS[request.param]
    folder = tmp_path_factory.mktemp(request.param)
    (folder / "certificate.pem").touch()
    started = Shell(command, folder)
    started.run(setup.format(file=COMPLETIONS / FILES[request.param]))
    yield started
    started.end()


@pytest.mark.parametrize(
    ("typed", "seen"),
    [
        ("evtools comp\t", "evtools completion "),
        ("evtools help doc\t", "evtools help doctor "),
        ("evtools help fil\t", "evtools help filter "),
        ("evtools doctor --fi\t", "evtools doctor --fix "),
        ("evtop --the\t", "evtop --theme"),
        ("evtop --theme li\t", "evtop --theme light "),
        ("evtop --theme=li\t", "evtop --theme=light "),
        ("evtools top --theme li\t", "evtools top --theme light "),
        ("evdump -o log\t", "evdump -o logfmt "),
        ("evdump runt\t", "evdump runtime:"),
        ("evcam stat\t", "evcam status "),
        ("evcam -c prom\t", "evcam -c prometheus "),
        ("evcam --tls-ca cert\t", "evcam --tls-ca certificate.pem "),
        ("evtop --view \t\t", "workers"),
    ],
)
def test_a_tab_completes(shell, typed, seen):
    shell.type(typed)
    shell.read_until(seen)
    shell.type("\x15")  # away with the line


@pytest.mark.parametrize(
    ("typed", "found"),
    [
        ("evtools comp", ["completion"]),
        ("evtools help doc", ["doctor"]),
        ("evtools help fil", ["filter"]),
        ("evtools doctor --fi", ["--fix"]),
        ("evtop --theme li", ["light"]),
        ("evtop --theme=li", ["--theme=light"]),
        ("evtools top --theme li", ["light"]),
        ("evdump -o log", ["logfmt"]),
        ("evdump runt", ["runtime:"]),
        ("evcam stat", ["status"]),
        ("evcam -c p", ["postgres", "prometheus"]),
        ("evcam --tls-ca cert", ["certificate.pem"]),
    ],
)
def test_fish_finds_the_same(tmp_path, typed, found):
    (tmp_path / "certificate.pem").touch()
    file = COMPLETIONS / FILES["fish"]
    done = subprocess.run(
        ["fish", "--no-config", "-c", f"source '{file}'; complete -C '{typed}'"],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
        env={**os.environ, "HOME": str(tmp_path), "PATH": f"{BIN}:{os.environ['PATH']}"},
    )
    assert done.stderr == ""
    assert [line.partition("\t")[0] for line in done.stdout.splitlines()] == found


@pytest.mark.parametrize("name", FILES)
def test_the_files_are_those_that_the_program_prints(name):
    assert (COMPLETIONS / FILES[name]).read_text() == script(name)


def test_zsh_finds_the_file_by_itself(tmp_path):
    shutil.copy(COMPLETIONS / FILES["zsh"], tmp_path / "_evtools")
    shell = Shell(["zsh", "-f", "-i"], tmp_path)
    shell.run("fpath=($PWD $fpath); autoload -Uz compinit; compinit -D -u")
    shell.type("evdump --timeo\t")
    shell.read_until("--timeout")
    shell.end()
