"""Recipes for programs that read our lines, as far as they can be checked without those."""

import json
import re
import tomllib
from datetime import UTC, datetime
from pathlib import Path

import pytest

from evtools.wire import encode_line, envelope
from tools.told import told

PACKAGING = Path(__file__).resolve().parents[2] / "packaging"


@pytest.fixture
def line():
    return json.loads(encode_line(envelope(told("task-failed", 1_795_186_532.5))))


def test_the_recipe_for_vector_is_whole_and_reads_fields_that_there_are(line):
    text = (PACKAGING / "vector.toml").read_text()
    # With all sinks.
    text = re.sub(r"(?m)^# (?=\[sinks|[a-z_.]+ = )", "", text)
    recipe = tomllib.loads(text)
    there = {*recipe["sources"], *recipe["transforms"]}
    for part in (*recipe["transforms"].values(), *recipe["sinks"].values()):
        assert set(part["inputs"]) <= there
    assert all(sink["acknowledgements"]["enabled"] for sink in recipe["sinks"].values())
    # VRL: what it makes is no field of ours.
    made = {"message", "sent"}
    read = set(re.findall(r"\.([a-z_]+)\b(?!\()", recipe["transforms"]["events"]["source"]))
    assert read - made <= line.keys()
    assert not made & line.keys()


def test_the_recipe_for_fluent_bit_knows_the_time_of_our_lines(line):
    names = re.findall(r"(?m)^ +Parser +(\S+)", (PACKAGING / "fluent-bit.conf").read_text())
    text = (PACKAGING / "fluent-bit-parsers.conf").read_text()
    sections = [dict(re.findall(r"(?m)^ +(\w+) +(\S+)$", part)) for part in text.split("[PARSER]")]
    parsers = {each["Name"]: each for each in sections if each}
    [parser] = [parsers[name] for name in names]
    shape = parser["Time_Format"].replace("%L", "%f")
    at = datetime.strptime(line[parser["Time_Key"]], shape).replace(tzinfo=UTC)
    assert at.timestamp() == line["timestamp"]
