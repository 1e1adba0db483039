"""Puts what was built into dist/: single file, tarball, wheel, contents, checksums."""

from __future__ import annotations

import hashlib
import lzma
import os
import shutil
import tarfile
import tomllib
from typing import TYPE_CHECKING

import contents

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path
    from typing import IO

    from binary import Built

TOOLS = ("evtools", "evtop", "evdump", "evcam")

# What goes into the tarball beside the program: in the repository, in the tarball.
EXTRAS = (
    ("packaging/install.sh", "install.sh"),
    ("packaging/evcam.service", "systemd/evcam.service"),
    ("packaging/logrotate.d/evcam", "logrotate.d/evcam"),
    ("packaging/sysusers.d/evcam.conf", "sysusers.d/evcam.conf"),
    ("packaging/tmpfiles.d/evcam.conf", "tmpfiles.d/evcam.conf"),
    ("packaging/vector.toml", "recipes/vector.toml"),
    ("packaging/fluent-bit.conf", "recipes/fluent-bit.conf"),
    ("packaging/fluent-bit-parsers.conf", "recipes/fluent-bit-parsers.conf"),
    ("packaging/prometheus/alerts.yaml", "prometheus/alerts.yaml"),
    ("packaging/prometheus/overview.json", "prometheus/overview.json"),
    ("packaging/prometheus/tasks.json", "prometheus/tasks.json"),
    *(
        (f"packaging/kubernetes/{name}.yaml", f"kubernetes/{name}.yaml")
        for name in ("kustomization", "deployment", "service", "servicemonitor")
    ),
    ("README.md", "README.md"),
    ("CHANGELOG.md", "CHANGELOG.md"),
    ("LICENSE", "LICENSE"),
)


def publish(built: Built, dist: Path, *makers: Callable[[Built, Path], None]) -> list[Path]:
    """Write everything into `dist`, which is emptied first; return what is there.

    What `makers` write there comes in addition.
    """
    shutil.rmtree(dist, ignore_errors=True)
    dist.mkdir(parents=True)
    shutil.copy2(built.wheel, dist)
    shutil.copy2(built.single, dist)
    (dist / built.name).chmod(0o755)
    parts = contents.parts(built)
    listed = dist / f"{built.name}.contents.txt"
    listed.write_text(contents.table(built.name, parts))
    lay_out(built.root, built.folder, built.tree)
    contents.write_licences(parts, built.tree / "licences")
    shutil.copy(listed, built.tree / "CONTENTS.txt")
    # As small as can be takes three times as long: that is for what others load.
    preset = 9 if built.interpreter else 1
    pack(built.tree, dist / f"{built.name}.tar.xz", date=built.commit.date, preset=preset)
    for make in makers:
        make(built, dist)
    return sum_up(dist)


def sum_up(dist: Path) -> list[Path]:
    """Write the checksums of all that is in `dist`; return what is there now."""
    written = sorted(path for path in dist.iterdir() if path.name != "SHA256SUMS")
    sums = dist / "SHA256SUMS"
    sums.write_text("".join(f"{sha256(path)}  {path.name}\n" for path in written))
    return [*written, sums]


def lay_out(root: Path, program: Path, tree: Path) -> None:
    """Arrange the folder that the tarball unpacks to."""
    shutil.rmtree(tree, ignore_errors=True)
    shutil.copytree(program, tree / "lib", symlinks=True)
    (tree / "bin").mkdir()
    for name in TOOLS:
        (tree / "bin" / name).symlink_to("../lib/evtools")
    for page in sorted((root / "man").glob("*.[1-8]")):
        place = tree / "share" / "man" / f"man{page.suffix[1:]}"
        place.mkdir(parents=True, exist_ok=True)
        shutil.copy(page, place)
    if address(root):
        page = tree / "share/man/man1/evtools.1"
        page.write_text(f"{page.read_text()}.SH BUGS\nReport them at {address(root)}\n")
    for source, target in EXTRAS:
        if (root / source).exists():
            (tree / target).parent.mkdir(exist_ok=True)
            shutil.copy(root / source, tree / target)
    completions = root / "packaging" / "completions"
    if completions.exists():
        shutil.copytree(completions, tree / "share" / "completions", symlinks=True)


def address(root: Path) -> str:
    """Return where the project is, as pyproject.toml says, or nothing."""
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    return str(project.get("urls", {}).get("Homepage", ""))


def pack(tree: Path, tarball: Path, *, date: int, preset: int) -> None:
    """Write a tar.xz of a folder."""
    with lzma.open(tarball, "wb", preset=preset) as packed:
        write_tar(packed, tree, date=date, prefix=f"{tree.name}/")


def write_tar(
    target: IO[bytes],
    tree: Path,
    *,
    date: int,
    prefix: str = "",
    special: Mapping[str, tuple[int, int]] | None = None,
) -> None:
    """Write a tar whose bytes depend on nothing but names, contents and `date`.

    All is root's, and nobody else's to write; `special` has mode and owner of what is not.
    """
    with tarfile.open(fileobj=target, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for path in (*([tree] if prefix else []), *sorted(tree.rglob("*"))):
            name = str(path.relative_to(tree)) if path != tree else ""
            entry = archive.gettarinfo(path, f"{prefix}{name}".rstrip("/"))
            executable = entry.isdir() or os.access(path, os.X_OK)
            usual = (0o755 if executable else 0o644, 0)
            entry.mode, entry.uid = (special or {}).get(name, usual)
            entry.mtime, entry.gid = date, entry.uid
            entry.uname = entry.gname = "" if entry.uid else "root"
            if entry.isreg():
                with path.open("rb") as source:
                    archive.addfile(entry, source)
            else:
                archive.addfile(entry)


def sha256(path: Path) -> str:
    """Return the checksum of a file."""
    with path.open("rb") as source:
        return hashlib.file_digest(source, "sha256").hexdigest()
