"""Writes the bill of materials: what is inside, from the pins, as CycloneDX 1.6."""

from __future__ import annotations

import json
import re
import tomllib
import uuid
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import contents
import image
import interpreter
from binary import REQUIREMENTS
from bundle import address
from packages import ARCHITECTURES

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from binary import Built


def make(built: Built, dist: Path) -> None:
    """Write the bill of what is in the program and in the image into `dist`."""
    path = dist / f"{built.name}.cdx.json"
    path.write_text(json.dumps(bill(built, contents.parts(built)), indent=1) + "\n")


def bill(built: Built, parts: Iterable[contents.Part]) -> dict[str, Any]:
    """Return what CycloneDX 1.6 has for a program made of `parts`."""
    hashes = pinned_hashes()
    pins = tomllib.loads(interpreter.PINS.read_text())
    sources = {entry.get("name", entry["package"]): entry for entry in pins["source"]}
    pool = pins["pools"][0]
    inside = []
    for part in parts:
        if part.name == "evtools" or part.name in contents.OF_PSYCOPG:
            continue
        found = component(part, "pypi" if part.name in hashes else "generic")
        if part.name in hashes:
            page = f"https://pypi.org/project/{part.name}/{part.version}/"
            found["externalReferences"] = [_reference("distribution", page, hashes[part.name])]
        elif part.name in sources and built.interpreter:
            package = sources[part.name]["package"]
            found["externalReferences"] = [
                _reference(
                    "source-distribution",
                    f"{pool}/{interpreter.shelf(package)}/{quote(file, safe='+')}",
                    [digest],
                )
                for file, digest in sources[part.name]["files"].items()
            ]
        inside.append(found)
    for found in inside:
        if found["name"] == "psycopg-binary":
            found["components"] = [
                {"type": "library", "name": part.name, "licenses": _licences(part.licence)}
                for part in parts
                if part.name in contents.OF_PSYCOPG
            ]
    inside += base_of_image(built.machine)
    program = {
        **component(contents.Part("evtools", built.version, "MIT"), "generic"),
        "type": "application",
    }
    if address(built.root):
        program["externalReferences"] = [{"type": "website", "url": address(built.root)}]
    same_each_time = f"{built.name} {built.commit.name} {built.commit.date}"
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, same_each_time)}",
        "version": 1,
        "metadata": {
            "timestamp": f"{built.commit.when:%Y-%m-%dT%H:%M:%SZ}",
            "component": program,
            "properties": [{"name": "evtools:commit", "value": built.commit.name}],
        },
        "components": inside,
        "dependencies": [
            {"ref": program["bom-ref"], "dependsOn": [each["bom-ref"] for each in inside]}
        ],
    }


def pinned_hashes() -> dict[str, list[str]]:
    """Return the hashes of the files of each distribution, by its name."""
    pins = re.findall(r"^([\w-]+)==((?:.*\\\n)*.*)$", REQUIREMENTS.read_text(), re.MULTILINE)
    return {name: re.findall(r"sha256:(\w+)", rest) for name, rest in pins}


def component(part: contents.Part, kind: str) -> dict[str, Any]:
    """Return what CycloneDX has for a part, with a package URL of a kind."""
    purl = f"pkg:{kind}/{part.name}@{quote(part.version)}"
    return {
        "type": "library",
        "bom-ref": purl,
        "name": part.name,
        "version": part.version,
        "licenses": _licences(part.licence),
        "purl": purl,
    }


def base_of_image(machine: str) -> list[dict[str, Any]]:
    """Return the packages of Debian that are in the image alone."""
    found = []
    for entry in tomllib.loads(image.PINS.read_text())["base"]:
        arch = ARCHITECTURES[machine] if machine in entry["files"] else "all"
        version = quote(entry["version"])
        purl = f"pkg:deb/debian/{entry['package']}@{version}?arch={arch}&distro=debian-13"
        digest = entry["files"].get(machine) or entry["files"]["all"]
        found.append(
            {
                "type": "library",
                "bom-ref": purl,
                "name": entry["package"],
                "version": entry["version"],
                "scope": "optional",
                "hashes": [{"alg": "SHA-256", "content": digest}],
                "purl": purl,
                "properties": [{"name": "evtools:in", "value": "image"}],
            }
        )
    return found


def _licences(text: str) -> list[dict[str, str]]:
    # What stands in brackets is for people.
    return [{"expression": text.partition(" (")[0]}]


def _reference(kind: str, url: str, digests: Iterable[str]) -> dict[str, Any]:
    hashes = [{"alg": "SHA-256", "content": digest} for digest in digests]
    return {"type": kind, "url": url, "hashes": hashes}
