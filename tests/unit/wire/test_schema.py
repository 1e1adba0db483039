"""The decoder that learns what senders add."""

import json

import msgspec
import pytest
from msgspec import UNSET

from evtools.wire.codec import Schema
from evtools.wire.events import GAP, OWN_FIELDS

STARTED = {
    "hostname": "w@h", "uuid": "u1", "timestamp": 1.5, "utcoffset": 0, "pid": 7, "clock": 9,
    "type": "task-started",
}  # fmt: skip
PROGRESS = {**STARTED, "type": "task-progress", "done": 3}


def decode(schema, fields):
    """Decode an event that fits, whether as JSON or as msgpack, alone or in a batch."""
    event = schema.json_event(json.dumps(fields).encode())
    assert schema.msgpack_event(msgspec.msgpack.encode(fields)) == event
    assert schema.json_batch(json.dumps([fields, fields]).encode()) == [event, event]
    assert schema.msgpack_batch(msgspec.msgpack.encode([fields])) == [event]
    assert event.as_dict() == fields
    return event


def fits(schema, fields):
    try:
        schema.json_event(json.dumps(fields).encode())
    except msgspec.ValidationError:
        return False
    return True


def test_names_that_are_new_are_learned_once():
    schema, fields = Schema(), {**STARTED, "zone": "b", "rack": [1, {"x": None}]}
    assert not fits(schema, fields)
    assert schema.learn(fields)
    event = decode(schema, fields)
    assert event.extra == {"zone": "b", "rack": [1, {"x": None}]}
    assert (event.get("zone"), event.original) == ("b", UNSET)
    assert list(event.as_dict()) == ["type", *OWN_FIELDS["task-started"], "zone", "rack"]
    assert not schema.learn(fields)
    assert decode(schema, STARTED).extra == {}
    assert not fits(schema, {**STARTED, "type": "task-cancelled", "zone": "b"})


def test_types_that_are_new_are_learned_with_their_fields():
    schema = Schema()
    assert schema.learn([PROGRESS, {**PROGRESS, "type": "custom"}, 3])
    event = decode(schema, PROGRESS)
    found = (event.type, event.uuid, event.clock, event.extra)
    assert found == ("task-progress", "u1", 9, {"done": 3})
    assert fits(schema, {**PROGRESS, "type": "custom"})


def test_a_type_learns_common_fields_that_its_first_event_lacked():
    schema = Schema()
    schema.learn({"type": "custom", "a": 1})
    assert decode(schema, {"type": "custom", "clock": 1}).timestamp is None
    assert schema.learn({"type": "custom", "timestamp": 3})
    assert decode(schema, {"type": "custom", "clock": 1, "timestamp": 3}).timestamp == 3


def test_a_name_of_an_extra_field_comes_with_what_names_the_event():
    fields = {"a": 1, "name": "n", "type": "custom", "clock": 1, "uuid": "u", "hostname": "h"}
    schema = Schema()
    schema.learn(fields)
    names = ["type", "hostname", "uuid", "name", "a", "clock"]
    assert list(decode(schema, fields).as_dict()) == names


@pytest.mark.parametrize("odd", [
    {"retries": 1, "uuid": 7}, {"local_received": "x"}, {"lag": 0}, {"v": 1}, {"known": 1},
    {"joined": []}, {"own": []}, {"ts": ""}, {"timestamp": None}, {"clock": None},
    {"hostname": None}, {'quo"te': 1}, {"back\\slash": 1}, {"line\nend": 1}, {"": 1},
    {"x" * 200: 1}, {"evtools:original": 1, "timestamp": "x"},
], ids=str)  # fmt: skip
def test_what_must_not_or_cannot_be_learned_is_kept_as_sent(odd):
    schema, fields = Schema(), {**STARTED, **odd}
    schema.learn(fields)
    assert not fits(schema, fields)
    event = schema.event(dict(fields))
    assert event.as_dict() == fields
    assert event.original == fields


@pytest.mark.parametrize("kind", [GAP, "", 7, None, 'a"b', "x" * 200])
def test_types_that_cannot_be_are_not_learned(kind):
    assert not Schema().learn({"type": kind, "a": 1})


@pytest.mark.parametrize("name", OWN_FIELDS["task-received"])
def test_an_event_that_lacks_a_field_says_so(name):
    fields = {**STARTED, "type": "task-received", "retries": 0}
    texts = dict.fromkeys(("name", "args", "kwargs", "root_id", "parent_id", "eta", "expires"))
    fields = {**texts, **fields}
    schema = Schema()
    assert fits(schema, fields)
    del fields[name]
    assert not fits(schema, fields)
    assert not schema.learn(fields)
    event = schema.event(fields)
    unknown = {"uuid": "", "hostname": ""}.get(name)
    assert (getattr(event, name), event.get(name, "-")) == (unknown, "-")


def test_senders_cannot_make_it_learn_without_end():
    schema = Schema()
    for number in range(100):
        schema.learn({**STARTED, f"n{number}": 1})
        schema.learn({"type": f"custom-{number}"})
    assert fits(schema, {**STARTED, "n31": 1})
    assert not fits(schema, {**STARTED, "n32": 1})
    assert fits(schema, {"type": "custom-63", "clock": 1})
    assert not fits(schema, {"type": "custom-64", "clock": 1})
    kinds = [kind for kind in OWN_FIELDS if kind != "task-started"]
    for kind in kinds:
        schema.learn({"type": kind, **{f"m{number}": 1 for number in range(40)}})
    assert schema._learned_count == 256
    event = schema.event({"type": "custom-64", "uuid": "u", "n": 1})
    assert (event.type, event.uuid, event.extra) == ("custom-64", "u", {"n": 1})
