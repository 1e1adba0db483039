"""A container's image, made of a Dockerfile without Docker."""

from __future__ import annotations

import json
import re
import shlex
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


class Image:
    """What `docker build` makes of a Dockerfile, in a folder instead of an image.

    What FROM names is what is in the folder before: a root file system, or nothing,
    with the machine's own beside it. No instruction is known but those below, so that
    a test fails when it would have to guess.
    """

    def __init__(self, dockerfile: str, context: Path, root: Path) -> None:
        self.root = root
        self.variables: dict[str, str] = {}
        self.user = "root"
        self._entry: list[str] = []
        self._arguments: list[str] = []
        first, *others = dockerfile.splitlines()
        assert re.fullmatch(r"FROM debian:\d+-slim", first), first
        for line in others:
            word, _, rest = line.partition(" ")
            getattr(self, f"_{word.lower()}")(rest, context)

    def _add(self, rest: str, context: Path) -> None:
        # Of a tarball, ADD takes what is in it.
        source, target = rest.split()
        with tarfile.open(context / source) as archive:
            archive.extractall(self.root / target.lstrip("/"), filter="tar")

    def _env(self, rest: str, _: Path) -> None:
        name, _, value = rest.partition("=")
        self.variables[name] = value

    def _user(self, rest: str, _: Path) -> None:
        self.user = rest

    def _entrypoint(self, rest: str, _: Path) -> None:
        self._entry = json.loads(rest)

    def _cmd(self, rest: str, _: Path) -> None:
        self._arguments = json.loads(rest)

    def argv(self, arguments: Sequence[str] = ()) -> list[str]:
        """Return what `docker run` starts, with the first word found as it does."""
        program, *words = self._entry
        folder, last = self.variables["PATH"].split(":")
        assert last == "$PATH"
        path = Path(folder, program)
        assert (self.root / path.relative_to("/")).exists(), path
        return [str(path), *words, *(arguments or self._arguments)]


def docker_run(line: str, image: str) -> tuple[set[str], list[str]]:
    """Return the options and the arguments of a `docker run` of an image."""
    before, _, after = line.partition(f" {image} ")
    docker, run, *options = shlex.split(before)
    assert (docker, run) == ("docker", "run")
    return set(options), shlex.split(after)
