"""Builds a release: the program with a CPython of its own, for any Linux since 2018."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import bundle
import contents
import image
import interpreter
import packages
import sbom
from binary import ROOT, build

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

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


def main() -> int:
    """Build, check and publish; return the exit status."""
    try:
        made = interpreter.toolchain(interpreter.cache_folder(os.environ))
        built = build(ROOT / "build" / "release", toolchain=made)
    except (interpreter.BuildError, subprocess.CalledProcessError) as error:
        print(f"release: {error}", file=sys.stderr)
        return 1
    needs = contents.glibc(built.folder)
    written = bundle.publish(built, ROOT / "dist", packages.make, image.make, sbom.make)
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
    sys.exit(main())
