import json
import re
import sys
import tomllib
from pathlib import Path

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from license_expression import get_spdx_licensing

import contents
import interpreter
import sbom
from binary import Built, Commit


@pytest.fixture(scope="module")
def bill():
    """That of a release with the distributions of this environment."""
    place = Path("evtools-9.8.7-linux-aarch64")
    built = Built(
        *("9.8.7", place, place, place, Path(sys.executable), Commit("abc", 10**9)),
        machine="aarch64",
    )
    pinned = sbom.pinned_hashes()
    parts = [part for part in contents.parts(built) if part.name in {*pinned, *contents.OF_PSYCOPG}]
    sources = tomllib.loads(interpreter.PINS.read_text())["source"]
    parts += [
        contents.Part(entry.get("name", entry["package"]), entry["version"], entry["licence"])
        for entry in sources
    ]
    return sbom.bill(Built(**{**vars(built), "interpreter": place}), parts)


def test_it_is_what_cyclonedx_describes(bill):
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(bill)) is None


def test_each_part_has_an_address_a_hash_and_a_licence_that_spdx_knows(bill):
    licensing = get_spdx_licensing()
    components = {each["name"]: each for each in bill["components"]}
    assert {"kombu", "openssl", "libc6", "psycopg-binary"} <= set(components)
    assert components["libc6"]["purl"].endswith("?arch=arm64&distro=debian-13")
    assert components["openssl"]["purl"].startswith("pkg:generic/openssl@3.")
    nested = components["psycopg-binary"]["components"]
    assert {each["name"] for each in nested} == set(contents.OF_PSYCOPG)
    for each in (*components.values(), *nested):
        for licence in each.get("licenses", ()):
            unknown = licensing.unknown_license_keys(licence["expression"])
            assert all(name.startswith("LicenseRef-") for name in unknown), each
    for each in components.values():
        references = each.get("externalReferences", [each])
        assert all(re.fullmatch("[0-9a-f]{64}", ref["hashes"][0]["content"]) for ref in references)


def test_it_is_the_same_for_the_same_commit(bill):
    assert bill["metadata"]["timestamp"] == "2001-09-09T01:46:40Z"
    assert bill["serialNumber"] == "urn:uuid:83c7f3e3-e012-5802-b26a-2eab206b6265"
