"""Builds a release: the program with a CPython of its own, for any Linux since 2018."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

import bundle
import contents
import image
import interpreter
import packages
import sbom
from binary import ROOT, build

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

#: RHEL 8, Debian 10 and Ubuntu 18.10 have it.
GLIBC_MAX = (2, 28)
_MEBIBYTE = 1024 * 1024
#: How large what is published may be, by what is in its name.
SIZES_MAX = {
    r"\.tar\.xz$": 25 * _MEBIBYTE,
    r"-linux-[^.]+$": 40 * _MEBIBYTE,
    r"^image, unpacked": 60 * _MEBIBYTE,
}


def too_new(found: Mapping[Path, tuple[int, int]]) -> list[str]:
    """Return the files that need a newer C library than a release may."""
    return [
        f"{path} needs glibc {major}.{minor}"
        for path, (major, minor) in found.items()
        if (major, minor) > GLIBC_MAX
    ]


def too_large(sizes: Mapping[str, int]) -> list[str]:
    """Return the files that are larger than a release may be."""
    return [
        f"{name} has {size / _MEBIBYTE:.1f} MiB, allowed are {limit / _MEBIBYTE:g}"
        for name, size in sizes.items()
        for pattern, limit in SIZES_MAX.items()
        if re.search(pattern, name) and size > limit
    ]


def join(folders: Iterable[Path], dist: Path) -> list[Path]:
    """Put what was built on several machines into `dist`, with one image; return what is there.

    Raise BuildError if a machine has changed files since, or two have built the same
    otherwise.
    """
    found = defaultdict(list)
    for folder in folders:
        for line in (folder / "SHA256SUMS").read_text().splitlines():
            digest, name = line.split()
            if bundle.sha256(folder / name) != digest:
                raise interpreter.BuildError(f"{folder / name} is not what its checksum says")
            found[name].append(folder / name)
    shutil.rmtree(dist, ignore_errors=True)
    dist.mkdir(parents=True)
    for name, paths in found.items():
        if name.endswith("-image.tar"):
            image.join(paths, dist / name)
        elif len({path.read_bytes() for path in paths}) == 1:
            shutil.copy2(paths[0], dist)
        else:
            raise interpreter.BuildError(f"not the same: {', '.join(map(str, paths))}")
    return bundle.sum_up(dist)


def main(*folders: str) -> int:
    """Build, check and publish, or join what is in folders; return the exit status."""
    dist = ROOT / "dist"
    try:
        if folders:
            for path in join(map(Path, folders), dist):
                print(path.relative_to(ROOT))
            return 0
        made = interpreter.toolchain(interpreter.cache_folder(os.environ))
        built = build(ROOT / "build" / "release", toolchain=made)
        written = bundle.publish(built, dist, packages.make, image.make, sbom.make)
    except (interpreter.BuildError, subprocess.CalledProcessError) as error:
        print(f"release: {error}", file=sys.stderr)
        return 1
    needs = contents.glibc(built.folder)
    sizes = {path.name: path.stat().st_size for path in written}
    inside = [path for path in built.folder.rglob("*") if path.is_file()]
    unpacked = sum(path.lstat().st_size for path in inside)
    sizes |= {"image, unpacked, without its base": unpacked}
    problems = [*too_new(needs), *too_large(sizes)]
    for problem in problems:
        print(f"release: {problem}", file=sys.stderr)
    newest = ".".join(map(str, max(needs.values())))
    print(f"{len(needs)} ELF files, which need glibc {newest}")
    for name, size in sizes.items():
        print(f"{name}  {size / _MEBIBYTE:.1f} MiB")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
