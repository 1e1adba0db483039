"""Builds the standalone program, as a single file and as a folder, with one Python."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import bundle

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = Path(__file__).resolve().parents[1]
PACKAGING = ROOT / "packaging"
REQUIREMENTS = PACKAGING / "requirements.txt"

# An archive knows no time before 1980.
_EPOCH_MIN = 315_532_800


@dataclass(frozen=True)
class Toolchain:
    """What a release is made with: an interpreter of ours, and a compiler for it.

    `interpreter` is the folder with the interpreter and the list of its parts.
    """

    interpreter: Path
    compiler: Path

    @property
    def python(self) -> Path:
        """The interpreter itself."""
        return self.interpreter / "bin" / "python3"


@dataclass(frozen=True)
class Commit:
    """What the program is made of: `date` is in UTC epoch seconds."""

    name: str
    date: int

    @property
    def when(self) -> datetime:
        """The date as one of UTC."""
        return datetime.fromtimestamp(self.date, UTC)


@dataclass(frozen=True)
class Built:
    """The program in its two forms, and the environment it was made in."""

    version: str
    wheel: Path
    single: Path
    folder: Path
    python: Path
    commit: Commit
    interpreter: Path | None = None
    root: Path = ROOT
    machine: str = platform.machine()

    @property
    def python_version(self) -> str:
        """The version of the Python inside."""
        code = "import platform; print(platform.python_version())"
        words = [str(self.python), "-c", code]
        done = subprocess.run(words, check=True, capture_output=True, text=True)
        return done.stdout.strip()

    @property
    def tree(self) -> Path:
        """The folder that the tarball unpacks to."""
        return self.folder.parent / "tarball" / self.name

    @property
    def name(self) -> str:
        """The name of everything that is published."""
        return self.single.name


def commit(root: Path) -> Commit:
    """Return the commit of the work tree, marked where files differ from it.

    SOURCE_DATE_EPOCH in the environment is its date, if it is set.
    """
    given = os.environ.get("SOURCE_DATE_EPOCH")
    try:
        name = _git(root, "describe", "--always", "--abbrev=12", "--dirty")
        date = given or _git(root, "log", "-1", "--format=%ct")
    except (OSError, subprocess.CalledProcessError):
        name, date = "unknown", given or "0"
    return Commit(name, max(int(date), _EPOCH_MIN))


def _git(root: Path, *arguments: str) -> str:
    # To look is not to lock: somebody may be committing.
    words = ["git", "--no-optional-locks", "-C", str(root), *arguments]
    done = subprocess.run(words, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def build(work: Path, *, toolchain: Toolchain | None = None) -> Built:
    """Build both forms below `work`, with a release's toolchain or our own Python."""
    work.mkdir(parents=True, exist_ok=True)
    made_of = commit(ROOT)
    environment = {
        **os.environ,
        "SOURCE_DATE_EPOCH": str(made_of.date),
        "PYTHONHASHSEED": "0",
        "PYTHONDONTWRITEBYTECODE": "1",
        # Nor is any read: what earlier processes left in the interpreter's folder is
        # marshalled as it was in their memory.
        "PYTHONPYCACHEPREFIX": str(work / "pycache"),
        "LC_ALL": "C.UTF-8",
        "TZ": "UTC",
    }
    python = _environment(work, toolchain, environment)
    wheel = _install(work, python, environment)
    version = wheel.name.split("-")[1]
    name = f"evtools-{version}-linux-{platform.machine()}"
    description = {
        "name": name,
        "commit": made_of.name,
        "date": f"{made_of.when:%Y-%m-%d %H:%M} UTC",
        "bootloader": "own" if toolchain else "stock",
    }
    _freeze(work, python, description, environment)
    dist = work / "dist"
    interpreter = toolchain.interpreter if toolchain else None
    return Built(
        *(version, wheel, dist / name, dist / "evtools", python, made_of), interpreter=interpreter
    )


def _environment(work: Path, toolchain: Toolchain | None, environment: Mapping[str, str]) -> Path:
    """Return the Python of a virtual environment with all that is pinned."""
    python = toolchain.python if toolchain else Path(sys.executable)
    key = hashlib.sha256(
        b"\0".join(
            (
                REQUIREMENTS.read_bytes(),
                (PACKAGING / "noexec.c").read_bytes(),
                str(python.resolve()).encode(),
                str(toolchain).encode(),
            )
        )
    ).hexdigest()
    folder = work / "environment"
    made = folder / "bin" / "python"
    marker = folder / "made-of"
    if marker.exists() and marker.read_text() == key:
        return made
    print("installing what the program is made of", flush=True)
    shutil.rmtree(folder, ignore_errors=True)
    _run([str(python), "-m", "venv", "--without-pip", str(folder)], environment)
    if toolchain is None:
        _pip(made, "--requirement", str(_versions(work)), environment=environment)
    else:
        _install_release(made, toolchain, environment)
    marker.write_text(key)
    return made


def _versions(work: Path) -> Path:
    """Return a file with the versions alone: each Python has files of its own."""
    text = re.sub(r" *\\\n *--hash=\S+", "", REQUIREMENTS.read_text())
    path = work / "requirements.txt"
    path.write_text(text)
    return path


def _install_release(python: Path, toolchain: Toolchain, environment: Mapping[str, str]) -> None:
    """Install what has the pinned hashes, and compile PyInstaller's boot loader."""
    checked = ("--require-hashes", "--no-build-isolation", "--no-cache-dir")
    pins = REQUIREMENTS.read_text()
    (pin,) = re.findall(r"^pyinstaller==(?:.*\\\n)*.*\n", pins, re.MULTILINE)
    folder = python.parents[1]
    others, loader = folder / "others.txt", folder / "pyinstaller.txt"
    others.write_text(pins.replace(pin, ""))
    loader.write_text(pin)
    wheels = ("--only-binary", ":all:", "--requirement", str(others))
    _pip(python, *checked, *wheels, environment=environment)
    compiler = toolchain.compiler
    hook = folder / "noexec.o"
    _run([str(compiler), "-O2", "-c", str(PACKAGING / "noexec.c"), "-o", str(hook)], environment)
    settings = {
        **environment,
        "CC": str(compiler),
        "LINKFLAGS": f"{hook} -Wl,--wrap=mkdtemp",
        "PYI_STATIC_ZLIB": "1",
        "PYINSTALLER_COMPILE_BOOTLOADER": "1",
        "PATH": f"{python.parent}:{compiler.parent}:{environment['PATH']}",
    }
    sources = ("--no-binary", "pyinstaller", "--requirement", str(loader))
    _pip(python, *checked, *sources, environment=settings)


def _install(work: Path, python: Path, environment: Mapping[str, str]) -> Path:
    """Install the package from a wheel, as users do; return the wheel."""
    wheels = work / "wheels"
    shutil.rmtree(wheels, ignore_errors=True)
    _run([str(python), "-m", "hatchling", "build", "-t", "wheel", "-d", str(wheels)], environment)
    (wheel,) = wheels.glob("*.whl")
    version = wheel.name.split("-")[1]
    # By name: what is installed by path remembers the path.
    found = ("--no-index", "--find-links", str(wheels), "--force-reinstall")
    _pip(python, *found, f"evtools=={version}", environment=environment)
    return wheel


def _freeze(
    work: Path, python: Path, description: Mapping[str, str], environment: Mapping[str, str]
) -> None:
    told = work / "build.json"
    told.write_text(json.dumps(description))
    dist = work / "dist"
    shutil.rmtree(dist, ignore_errors=True)
    print(f"freezing {description['name']}", flush=True)
    words = [
        *(str(python), "-m", "PyInstaller", "--noconfirm", "--clean"),
        *("--log-level", "WARN", "--distpath", str(dist)),
        *("--workpath", str(work / "pyinstaller"), str(PACKAGING / "evtools.spec")),
    ]
    # Its usual cache is the user's: two builds at once would spoil it for each other.
    ours = {"EVTOOLS_BUILD": str(told), "PYINSTALLER_CONFIG_DIR": str(work / "cache")}
    _run(words, {**environment, **ours}, cwd=work)


def _pip(python: Path, *arguments: str, environment: Mapping[str, str]) -> None:
    # Ours installs into the other one, which has none.
    words = [sys.executable, "-m", "pip", "--python", str(python), "install", "-qq"]
    _run([*words, "--no-deps", *arguments], environment)


def _run(words: list[str], environment: Mapping[str, str], *, cwd: Path = ROOT) -> None:
    subprocess.run(words, check=True, env=dict(environment), cwd=cwd)


def main(folder: str = "dist") -> int:
    """Build with the Python at hand, and put what came of it into a folder of ours."""
    for path in bundle.publish(build(ROOT / "build" / "binary"), ROOT / folder):
        print(path.relative_to(ROOT))
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
