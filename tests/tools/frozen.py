"""The standalone program where it is to run: here, or in a root file system."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from servers.process import program
from tools.command import Command, Starter

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

TOOLS = ("evtools", "evtop", "evdump", "evcam")
#: The two that are made first; in a root file system also `deb` as installed there, or `image`,
#: where the file system is that of the container's image.
FORMS = tuple(os.environ.get("SMOKE_FORMS", "single folder").split())

# A program that is started in a root file system of its own gets what a login there
# would give it.
_LOGIN = {"HOME": "/root", "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}


class Place:
    """A folder that programs see as `inside`, and we as `outside`.

    With a `root` they run with that folder as their /, which is for root only; in that of an
    `image` as its user, with its environment, and what they may write is below `outside`.
    """

    def __init__(
        self, root: Path | None, outside: Path, image: Mapping[str, Any] | None = None
    ) -> None:
        self.root = root
        self.outside = outside
        self.user: str = image["User"] if image else ""
        self._variables = dict(each.split("=", 1) for each in image["Env"]) if image else _LOGIN
        outside.mkdir(parents=True, exist_ok=True)

    def folder(self, name: str) -> Path:
        """Make a folder that programs may write to, and return how we see it."""
        made = self.outside / name
        made.mkdir()
        if self.user:
            os.chown(made, *map(int, self.user.split(":")))
        return made

    @property
    def inside(self) -> Path:
        """The folder as programs name it."""
        return self.seen(self.outside)

    def seen(self, path: Path) -> Path:
        """Return how programs name a path of ours."""
        return Path("/") / path.relative_to(self.root) if self.root else path

    def argv(self, *words: str | Path) -> list[str]:
        """Return what starts a program there."""
        user = [f"--userspec={self.user}"] if self.user else []
        before = [program("chroot", "/usr/sbin"), *user, str(self.root)] if self.root else []
        return [*before, *map(str, words)]

    def environment(self, **changes: str | None) -> dict[str, str | None]:
        """Return the changes to the environment of what runs there."""
        return {"PYTHONPATH": None, **(self._variables if self.root else {}), **changes}

    def run(self, *words: str | Path, **how: Any) -> subprocess.CompletedProcess[str]:
        """Run a program there to its end; `env` changes the environment."""
        changes = self.environment(**how.pop("env", {}))
        env = {**os.environ, **changes}
        how.setdefault("timeout", 120)
        return subprocess.run(
            how.pop("before", []) + self.argv(*words),
            env={name: value for name, value in env.items() if value is not None},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            **how,
        )


class Program:
    """One form of the program, put where its users would put it."""

    def __init__(self, form: str, place: Place, dist: Path) -> None:
        self.form = form
        self.place = place
        self.temporary = place.folder(f"tmp-{form}")
        put = {"single": self._single, "folder": self._installed, "deb": self._packaged}
        self._bin = Path("/usr/bin") if form == "image" else put[form](dist)

    def _single(self, dist: Path) -> Path:
        folder = self.place.outside / "single"
        folder.mkdir()
        shutil.copy2(only(dist, "evtools-*-linux-*[!tz]"), folder / "evtools")
        for tool in TOOLS[1:]:
            (folder / tool).symlink_to("evtools")
        return self.place.seen(folder)

    def _installed(self, dist: Path) -> Path:
        with tarfile.open(only(dist, "*.tar.xz")) as archive:
            archive.extractall(self.place.outside / "unpacked", filter="tar")
        (unpacked,) = (self.place.outside / "unpacked").iterdir()
        prefix = self.place.inside / "prefix"
        script = self.place.seen(unpacked) / "install.sh"
        done = self.place.run("/bin/sh", script, "--prefix", prefix)
        assert done.returncode == 0, done.stderr
        return prefix / "bin"

    def _packaged(self, dist: Path) -> Path:
        assert self.place.root, "packages are installed in a root file system only"
        # Once, by one of the processes that run tests.
        with (self.place.root / "opt/installed").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not (self.place.root / "usr/bin/evtools").is_symlink():
                done = install(self.place, only(dist, f"*.{self.form}"))
                assert done.returncode == 0, done.stderr
        return Path("/usr/bin")

    def path(self, tool: str) -> Path:
        """Return where a tool is, as programs name it."""
        return self._bin / tool

    def environment(self, **changes: str | None) -> dict[str, str | None]:
        """Return the environment with a temporary folder of the program's own."""
        temporary = str(self.place.seen(self.temporary))
        return self.place.environment(TMPDIR=temporary, **changes)

    def run(self, tool: str, *arguments: str | Path, **how: Any) -> Any:
        """Run a tool to its end."""
        how["env"] = self.environment(**how.get("env", {}))
        return self.place.run(self.path(tool), *arguments, **how)

    def tidy(self) -> None:
        """Empty the temporary folder, as whoever killed the program must."""
        shutil.rmtree(self.temporary)
        self.place.folder(self.temporary.name)

    def left_behind(self) -> list[str]:
        """Return what is in the temporary folder."""
        return sorted(path.name for path in self.temporary.iterdir())


def install(place: Place, package: Path) -> subprocess.CompletedProcess[str]:
    """Install or upgrade a package in a root file system."""
    if package.suffix == ".rpm":
        # There is no rpm in there, and no database of what the system consists of.
        words = ["--root", str(place.root), "--upgrade", "--replacepkgs", "--nodeps"]
        words = [program("rpm"), "--force-debian", *words, str(package)]
        return subprocess.run(words, capture_output=True, text=True, check=False, timeout=120)
    copy = place.outside / package.name
    shutil.copy(package, copy)
    return place.run("/usr/bin/dpkg", "--install", place.seen(copy))


class ProgramStarter(Starter):
    """Starts tools of a program: `start("evdump", "-b", url, terminal=(80, 24))`."""

    def __init__(self, whose: Program, folder: Path) -> None:
        super().__init__(folder)
        self._program = whose

    def __call__(self, tool: str, *arguments: str | Path, **how: Any) -> Command:
        """Start one."""
        words: Sequence[str] = self._program.place.argv(self._program.path(tool), *arguments)
        how["env"] = self._program.environment(**how.get("env", {}))
        started: Command = self.start(words, **how)
        return started


def only(folder: Path, pattern: str) -> Path:
    """Return the one path that matches."""
    found = [path for path in folder.glob(pattern) if path.suffix not in {".txt", ".json"}]
    assert len(found) == 1, f"{pattern} in {folder}: {found}; run `make binary`"
    return found[0]
