"""Messages: every way kombu can send an event, and every way to send none."""

import base64
import datetime as dt
import enum
import faulthandler
import gc
import json
import math
import pickle
import sys
import tracemalloc
from unittest.mock import ANY

import kombu.compression
import kombu.serialization
import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from kombu.transport.memory import Channel

from evtools.wire.codec import ENVELOPE, MESSAGE_MAX_BYTES, Codec, Message
from evtools.wire.events import GAP
from tools.mutations import HARD_BODIES, mutations

#: How fast it goes is for the benchmarks to say.

STARTED = {
    "type": "task-started",
    "uuid": "eacdf44c-6aa4-4bb2-8c0e-0d2f1fe1a1ef",
    "hostname": "celery@b\u00fcro",
    "timestamp": 1795186532.103655,
    "utcoffset": -1,
    "pid": 31054,
    "clock": 40,
}
ONE = json.dumps(STARTED).encode()
ALL = ("json", "msgpack", "yaml", "pickle")
PICKLE = "application/x-python-serialize"
YAML = "application/x-yaml"
MSGPACK = "application/x-msgpack"
NOON = dt.datetime(2026, 11, 20, 12)  # noqa: DTZ001  (each test has its own zone)
YAML_CALL = "<python/object/apply:sys.exit>"
YAML_NAME = "<python/name:os.system>"
MSGPACK_5 = "<msgpack extension 5, 1 bytes>"
MSGPACK_T = "<msgpack extension -1, 1 bytes>"


def as_kombu_sends(event, *, serializer="json", compression=None, **properties):
    """The message kombu's Producer makes of an event."""
    content_type, encoding, body = kombu.serialization.dumps(event, serializer=serializer)
    if compression:
        body, compression = kombu.compression.compress(body, compression)
    if isinstance(body, str):
        body = body.encode(encoding)
    return Message(body, content_type, encoding, compression)


def in_envelope(message, body_encoding="base64", **changes):
    """The JSON that kombu's virtual transports put around a message."""
    body = message.body.decode("latin-1")
    if body_encoding == "base64":
        body = base64.b64encode(message.body).decode()
    envelope = {
        "body": body,
        "content-encoding": message.content_encoding,
        "content-type": message.content_type,
        "headers": {"hostname": "celery@vm"},
        "properties": {
            "delivery_mode": 1,
            "delivery_info": {"exchange": "celeryev", "routing_key": "task.started"},
            "priority": 0,
            "body_encoding": body_encoding,
            "delivery_tag": "4bd5d3d9-0d5c-4f0f-a9f0-f0a3a9a7a7ee",
        },
    }
    if message.compression:
        envelope["headers"]["compression"] = message.compression
    return Message(json.dumps({**envelope, **changes}).encode(), ENVELOPE)


def decoded(message, **how):
    """The events of a message that must have nothing wrong with it."""
    codec = Codec(**how)
    events = codec.decode(message)
    assert codec.defects == {}
    return events


def defect(message, **how):
    """The only thing that is wrong with a message, which must hold no event."""
    codec = Codec(**how)
    assert codec.decode(message) == []
    (only,) = codec.defects.values()
    return only


def json_message(body, **fields):
    return Message(body if isinstance(body, bytes) else body.encode(), **fields)


# --- what is well-formed -------------------------------------------------------


def test_an_empty_batch_is_no_event_and_no_defect():
    assert decoded(Message(b"[]")) == []


@pytest.mark.parametrize("serializer", ALL)
@pytest.mark.parametrize("method", [None, *kombu.compression.encoders()])
def test_serialised_and_compressed_bodies_are_read_in_an_envelope_and_without(serializer, method):
    message = as_kombu_sends(STARTED, serializer=serializer, compression=method)
    for each in (message, in_envelope(message)):
        assert decoded(each, accept=ALL) == [STARTED]


def test_an_envelope_without_base64_holds_the_text_itself():
    assert decoded(in_envelope(Message(ONE), body_encoding=None)) == [STARTED]
    bare = json.dumps({"body": ONE.decode(), "content-type": "application/json"})
    assert decoded(json_message(bare, content_type=ENVELOPE)) == [STARTED]


def test_a_text_that_could_be_base64_is_not_unless_the_envelope_says_so():
    message = in_envelope(Message(base64.b64encode(ONE)), body_encoding=None)
    assert defect(message).kind == "no JSON"
    message = in_envelope(Message(b"null"), body_encoding=None)
    assert defect(message).detail == "NoneType"


def test_the_envelope_of_a_real_virtual_channel_is_opened():
    with kombu.Connection("memory://") as connection:
        channel = connection.default_channel
        assert isinstance(channel, Channel)
        content_type, encoding, body = kombu.serialization.dumps([STARTED])
        message = channel.prepare_message(
            body, content_type=content_type, content_encoding=encoding, headers={}
        )
    channel._inplace_augment_message(message, "celeryev", "task.multi")
    body = json.dumps(message).encode()
    assert decoded(Message(body, ENVELOPE)) == [STARTED]


def test_odd_headers_do_not_cost_an_event_its_envelope():
    headers = {"hostname": "\ud800", "load": float("nan")}
    assert decoded(in_envelope(Message(ONE), headers=headers)) == [STARTED]


def test_kombus_markers_of_types_are_left_as_they_are():
    message = as_kombu_sends({**STARTED, "blob": b"\xff", "none": None})
    assert decoded(message)[0]["blob"] == {"__type__": "base64", "__value__": "/w=="}


@pytest.mark.parametrize("charset", ["utf-16", "latin-1", "UTF8", "ISO-8859-15"])
def test_json_in_other_charsets_is_read(charset):
    body = json.dumps(STARTED, ensure_ascii=False).encode(charset)
    assert decoded(Message(body, content_encoding=charset)) == [STARTED]


@pytest.mark.parametrize("charset", [None, "", "binary", "us-ascii", "utf-8"])
def test_json_is_utf_8_unless_said_otherwise(charset):
    assert decoded(Message(ONE, content_encoding=charset)) == [STARTED]


# --- what only Python takes for JSON -------------------------------------------


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("NaN", "NaN"),
        ("[Infinity, -Infinity]", ["Infinity", "-Infinity"]),
        ("1e400", "1e400"),
        ("-1e400", "-1e400"),
        ('"\\ud800 end"', "\\ud800 end"),
        ('{"\\udfff": 1}', {"\\udfff": 1}),
        ("9" * 5000, "9" * 5000),
        ("-" + "9" * 5000, "-" + "9" * 5000),
        ("9" * 4300, int("9" * 4300)),
        ("9" * 4000, int("9" * 4000)),
        ("[NaN, 1.5, " + "9" * 4000 + "]", ["NaN", 1.5, int("9" * 4000)]),
    ],
)
def test_what_json_cannot_say_is_kept_as_the_text_that_stood_there(written, kept):
    body = f'{{"type": "a", "odd": {written}}}'
    (event,) = decoded(json_message(body))
    assert event == {"type": "a", "odd": kept}
    # And everything in it can be written as real JSON again.
    assert msgspec.json.decode(msgspec.json.encode(event)) == event
    assert type(event["odd"]) is type(kept)


def test_text_with_encoded_lone_surrogates_is_read():
    body = '{"type": "a", "x": "\ud800"}'.encode("utf-8", "surrogatepass")
    assert decoded(Message(body)) == [{"type": "a", "x": "\\ud800"}]


# --- what is no event ----------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "kind", "detail"),
    [
        ("1", "no object", "int"),
        ('"task-started"', "no object", "str"),
        ("null", "no object", "NoneType"),
        ('[[{"type": "a"}]]', "no object", "list"),
        ("{}", "no type", "NoneType"),
        ('{"type": null}', "type is no name", "NoneType"),
        ('{"type": ""}', "type is no name", "''"),
        ('{"type": ["a"]}', "type is no name", "list"),
        ('{"type": ' + "9" * 4200 + "}", "type is no name", "int"),
        ('{"type": ' + "9" * 4999 + "}", "type is no name", "'" + "9" * 199),
        ('{"type": NaN}', "type is no name", "'NaN'"),
        (f'{{"type": "{GAP}"}}', "type is reserved", f"'{GAP}'"),
        ("", "no JSON", "Expecting value: line 1 column 1 (char 0)"),
        ("{", "no JSON", None),
        ('{"type": "a"} x', "no JSON", None),
        ("[" * 2_000_000, "nested too deep", ""),
        ("[NaN" + ", 1" * 2_000_000 + "]", "too many values", ""),
    ],
)
def test_what_is_wrong_with_json_is_named(body, kind, detail):
    found = defect(json_message(body))
    assert found.kind == kind
    assert found.count == 1
    assert detail is None or found.detail == detail


def test_nesting_is_fine_as_long_as_it_is_within_reason():
    # The event is the first level; strings do not count, however they look.
    nested = "[" * 99 + "]" * 99
    event = {"type": "a", "x": json.loads(nested), "text": "[{" * 500}
    assert decoded(json_message(json.dumps(event))) == [event]


def test_one_bad_event_does_not_cost_a_batch_the_others():
    codec = Codec()
    body = json.dumps([STARTED, 1, {"a": 1}, {"type": 3}, STARTED, None, STARTED])
    assert codec.decode(json_message(body)) == [STARTED] * 3
    assert {kind: each.count for kind, each in codec.defects.items()} == {
        "no object": 2,
        "no type": 1,
        "type is no name": 1,
    }


# --- one value that cannot be had -----------------------------------------------


class Card:
    """What no event should hold."""


class Colour(enum.Enum):
    RED = 3


def one_odd(message):
    """The field `x` of an odd event among 23 others, and what was counted of it."""
    codec = Codec(ALL)
    events = codec.decode(message)
    assert len(events) == 24
    odd = events.pop(7)
    assert events == [STARTED] * 23
    assert {name: odd[name] for name in STARTED} == STARTED
    msgspec.json.encode(odd)
    counts = {kind: (found.count, found.detail) for kind, found in codec.defects.items()}
    return odd["x"], counts


def batch_with(value):
    batch = [STARTED] * 24
    batch[7] = {**STARTED, "x": value}
    return batch


@pytest.mark.parametrize(
    ("value", "shown", "name"),
    [
        (ValueError("no money"), "<builtins.ValueError no money>", "builtins.ValueError"),
        ([ValueError], ["<builtins.ValueError>"], "builtins.ValueError"),
        ([Card(), 1], [f"<{__name__}.Card>", 1], f"{__name__}.Card"),
        (Colour.RED, f"<{__name__}.Colour 3>", f"{__name__}.Colour"),
        ({Colour.RED: 1}, {f"<{__name__}.Colour 3>": 1}, f"{__name__}.Colour"),
        (1j, "<builtins.complex>", "builtins.complex"),
    ],
)
@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_an_object_in_a_pickle_costs_itself_and_is_counted(value, shown, name, protocol):
    body = pickle.dumps(batch_with(value), protocol)
    found, counts = one_odd(Message(body, PICKLE))
    assert found == shown
    assert counts == {"value of unknown type": (1, f"x: {name}")}


def deep(value=1, depth=101):
    for _ in range(depth):
        value = [value]
    return value


def laughs():
    value = "ha"
    for _ in range(60):
        value = [value, value]
    return value


def yaml_with(text):
    batch = [json.dumps(STARTED)] * 24
    batch[7] = f"{batch[7][:-1]}, x: {text}}}"
    return Message("".join(f"- {event}\n" for event in batch).encode(), YAML)


def msgpack_with(packed):
    body = msgspec.msgpack.encode(batch_with("@here@"))
    return Message(body.replace(b"\xa6@here@", packed), MSGPACK)


def json_with(text):
    body = json.dumps(batch_with("@here@")).encode()
    return Message(body.replace(b'"@here@"', text))


DEEP = {"nested too deep": (1, "x")}
GROWS = {"grows when unpacked": (1, "x")}


def strange(name):
    return {"value of unknown type": (1, f"x: {name}")}


@pytest.mark.parametrize(
    ("message", "shown", "counts"),
    [
        (Message(pickle.dumps(batch_with(deep())), PICKLE), "<nested too deep>", DEEP),
        (Message(pickle.dumps(batch_with(laughs())), PICKLE), "<grows when unpacked>", GROWS),
        (json_with(b"[" * 101 + b"]" * 101), "<nested too deep>", DEEP),
        (json_with(b"[NaN" + b",[1" * 101 + b"]" * 102), "<nested too deep>", DEEP),
        (json_with(b'{"a":' * 9999 + b"1" + b"}" * 9999), "<nested too deep>", DEEP),
        (json_with(b'["\\"[", ' + b"[" * 9999 + b"]" * 10_000), "<nested too deep>", DEEP),
        (json_with(b'"a\xffb"'), "a\\udcffb", {}),
        (json_with(b"9" * 5000), "9" * 5000, {}),
        (json_with(b'{"__type__": "u", "__value__": 1}'), ANY, {}),
        (yaml_with("!!python/object/apply:sys.exit [3]"), YAML_CALL, strange(YAML_CALL[1:-1])),
        (yaml_with("[!!python/name:os.system ]"), [YAML_NAME], strange(YAML_NAME[1:-1])),
        (yaml_with("!shop.Card {a: 1}"), "<!shop.Card>", strange("!shop.Card")),
        (yaml_with('[!!int "", !!float "", !!bool maybe]'), ["", "", "maybe"], {}),
        (yaml_with("!!timestamp soon"), "soon", {}),
        (yaml_with("2001-12-14t21:59:43.10-99:99"), "2001-12-14t21:59:43.10-99:99", {}),
        (yaml_with("{? [a, 1] : b}"), {"['a', 1]": "b"}, {}),
        (yaml_with("[&a [1, 2], *a]"), [[1, 2], [1, 2]], {}),
        (yaml_with("[*b]"), ["<alias of nothing>"], {"alias of nothing": (1, "x")}),
        (yaml_with("&x [*x, *x]"), "<nested too deep>", DEEP),
        (yaml_with("[" * 150 + "]" * 150), ANY, DEEP),
        (yaml_with("[=, <<]"), ["=", "<<"], {}),
        (yaml_with("!!omap [a: 1]"), [{"a": 1}], {}),
        (msgpack_with(b"\xd4\x05x"), MSGPACK_5, strange("msgpack extension 5")),
        (msgpack_with(b"\xc7\x01\xffx"), MSGPACK_T, strange("msgpack extension -1")),
        (msgpack_with(b"\xa2\xffb"), "\\udcffb", {}),
        (msgpack_with(b"\x81\x91\x80\x01"), {"<a key of several levels>": 1}, strange("key")),
        (msgpack_with(b"\x91" * 5000 + b"\xc0"), "<nested too deep>", DEEP),
    ],
)
def test_a_value_that_cannot_be_had_costs_neither_its_event_nor_the_batch(message, shown, counts):
    assert one_odd(message) == (shown, counts)


def test_a_key_that_becomes_text_forges_no_record_of_ours():
    # zoneinfo.ZoneInfo._unpickle("type") is the text "type".
    forged = b"c__builtin__\ngetattr\n(czoneinfo\nZoneInfo\nU\x09_unpickletR(U\x04typetR"
    value = b"U" + bytes([len(GAP)]) + GAP.encode()
    body = b"\x80\x02}(U\x04typeU\x01a" + forged + value + b"u."
    assert Codec(ALL).decode(Message(body, PICKLE)) == []


def test_a_kind_is_told_once_with_its_first_sample_and_counted_always():
    codec = Codec()
    for number in range(100):
        assert codec.decode(json_message(f'{{"number": {number}}}')) == []
    (found,) = codec.defects.values()
    assert (found.kind, found.sample, found.count) == ("no type", b'{"number": 0}', 100)


def test_the_sample_of_an_enveloped_message_is_its_body():
    assert defect(in_envelope(Message(b'{"a": 1}'))).sample == b'{"a": 1}'
    assert defect(in_envelope(Message(b"\xff"))).sample == b"\xff"


NO_ENVELOPE = [b"", b"{}", b"[]", b"1", b"{", b'{"body": 1}', b'{"body": {}}', b"\xff", b"[" * 9999]
CHARSETS = ["klingon", "base64", "zlib", "unicode_escape", "idna", "a\0b", "\ud800"]
#: What is accepted, the content type of a message, enveloped or not.
UNACCEPTED = [
    (("json",), PICKLE), (("msgpack",), "application/json"),
    *((ALL, content_type) for content_type in ("text/plain", "", None)),
]  # fmt: skip
#: Messages, what is wrong with them, and the detail.
DEFECTS = [
    (ALL, in_envelope(in_envelope(Message(ONE))), "content type not accepted", repr(ENVELOPE)),
    *((accept, wrap(Message(ONE, content_type)), "content type not accepted", repr(content_type))
      for accept, content_type in UNACCEPTED for wrap in (lambda same: same, in_envelope)),
    *((ALL, Message(body, ENVELOPE), "no kombu envelope", ANY) for body in NO_ENVELOPE),
    *((ALL, in_envelope(Message(ONE), **changes), "no kombu envelope", ANY)
      for changes in ({"headers": 1}, {"content-type": []}, {"properties": "x"})),
    (ALL, in_envelope(Message(ONE), body="{not base64}"), "body is no base64", ANY),
    *((ALL, Message(ONE, content_encoding=charset), "unknown charset", repr(charset))
      for charset in CHARSETS),
    (ALL, Message(b"\xff", content_encoding="utf-16"), "text is not in its charset", ANY),
    (ALL, Message(pickle.dumps({"type": Colour.RED}), PICKLE), "type is no name", ANY),
]  # fmt: skip


@pytest.mark.parametrize(("accept", "message", "kind", "detail"), DEFECTS, ids=range(len(DEFECTS)))
def test_what_is_wrong_with_a_message_is_named(accept, message, kind, detail):
    found = defect(message, accept=accept)
    assert (found.kind, found.detail) == (kind, detail)


def test_a_charset_means_nothing_to_binary_serialisers():
    body = msgspec.msgpack.encode(STARTED)
    message = Message(body, "application/x-msgpack", "klingon")
    assert decoded(message) == [STARTED]


# --- bounds --------------------------------------------------------------------


def test_a_message_over_the_limit_is_refused_unread():
    for message in (Message(ONE), in_envelope(Message(ONE))):
        assert defect(message, max_bytes=10).kind == "message too large"
    assert decoded(Message(ONE), max_bytes=len(ONE)) == [STARTED]


def test_attackers_cannot_fill_our_memory_with_names():
    codec = Codec()
    big = "x" * 10_000

    def flood(start):
        for number in range(start, start + 300):
            name = f"{big}{number}"
            codec.decode(Message(ONE, name))
            codec.decode(Message(ONE, compression=name))
            codec.decode(Message(ONE, content_encoding=name))
            codec.decode(in_envelope(Message(ONE, name)))
            codec.decode(json_message(json.dumps({"type": [name], name: name})))
            codec.decode(json_message(json.dumps({name: name})))

    flood(0)
    gc.collect()
    tracemalloc.start()
    flood(1000)
    gc.collect()
    grown, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert grown < 100_000
    assert set(codec.defects) == {
        *("content type not accepted", "unknown compression", "unknown charset"),
        *("type is no name", "no type"),
    }
    for found in codec.defects.values():
        assert len(found.sample) <= 200
        assert len(found.detail) <= 200


def test_millions_of_things_that_are_no_events_are_counted():
    codec = Codec()
    assert codec.decode(Message(b"[" + b"1," * 1_000_000 + b"1]")) == []
    assert codec.defects["no object"].count == 1_000_001


# --- anything ------------------------------------------------------------------

anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(exclude_categories=[])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)
names = st.none() | st.text(st.characters(exclude_categories=[])) | st.just("utf-8")
content_types = st.none() | st.sampled_from(
    [
        *("application/json", ENVELOPE, "application/x-msgpack"),
        *("application/x-yaml", "application/x-python-serialize"),
    ]
)
compressions = st.none() | st.sampled_from(["gzip", "zstd", "bzip2", "xz", "\ud800"])


@given(st.binary(), content_types, names, compressions)
@example(b"\x80\x04", "application/x-python-serialize", None, None)
def test_no_bytes_make_decoding_raise(body, content_type, encoding, compression):
    codec = Codec(ALL)
    events = codec.decode(Message(body, content_type, encoding, compression))
    for event in events:
        msgspec.json.encode(event)


@given(anything)
def test_whatever_python_writes_as_json_is_decoded_to_real_json(value):
    message = json_message(json.dumps({"type": "a", "value": value}))
    for each in (message, in_envelope(message)):
        (event,) = decoded(each)
        assert msgspec.json.decode(msgspec.json.encode(event)) == event


@pytest.mark.parametrize(("body", "message"), HARD_BODIES.items(), ids=HARD_BODIES)
def test_hard_bodies_are_survived_and_soon(body, message):
    # Nothing else stops what hangs in C; unhindered the longest takes a second.
    faulthandler.dump_traceback_later(60, exit=True)
    codec = Codec(ALL)
    for event in codec.decode(message):
        assert len(msgspec.json.encode(event)) < 3 * MESSAGE_MAX_BYTES
    faulthandler.cancel_dump_traceback_later()


def test_thousands_of_mutated_events_are_sorted_into_events_and_defects():
    codec = Codec(ALL)
    expected, counted = 0, 0
    for message, events, defects in mutations(seed=1, count=5000):
        before = sum(each.count for each in codec.defects.values())
        found = codec.decode(message)
        assert len(found) == events, message
        assert sum(each.count for each in codec.defects.values()) - before == defects
        expected += defects
        for event in found:
            msgspec.json.encode(event)
    counted = sum(each.count for each in codec.defects.values())
    assert counted == expected > 250
    assert sys.getsizeof(codec.defects) < 10_000


# --- what is learned -----------------------------------------------------------


@pytest.mark.parametrize("serializer", ["json", "msgpack", "yaml", "pickle"])
@pytest.mark.parametrize("batch", [False, True])
def test_fields_that_celery_does_not_send_are_learned(serializer, batch):
    codec = Codec(ALL)
    more = {**STARTED, "zone": "eu", "type": "task-progress"}
    sent = [STARTED, {**STARTED, "zone": "eu"}, more] if batch else {**STARTED, "zone": "eu"}
    for _ in range(2):
        events = codec.events(as_kombu_sends(sent, serializer=serializer))
        assert [event.as_dict() for event in events] == (sent if batch else [sent])
        assert [event.extra for event in events][-1] == {"zone": "eu"}
        assert all(event.original is msgspec.UNSET for event in events)
    assert codec.defects == {}


@pytest.mark.parametrize(
    ("value", "kept"),
    [(b"x", "eA=="), (math.nan, "nan"), ([1], [1]), ({1: 2}, {"1": 2}), (NOON, ANY), (10**18, ANY)],
)
def test_what_msgpack_can_say_and_json_cannot_is_made_plain(value, kept):
    codec = Codec(ALL)
    for _ in range(2):
        body = msgspec.msgpack.encode({**STARTED, "odd": value})
        [event] = codec.events(Message(body, MSGPACK, "binary"))
        assert event.extra == {"odd": kept}
        msgspec.json.encode(event.as_dict())


def test_a_learned_field_may_not_be_nested_without_end():
    codec = Codec()
    event = {**STARTED, "deep": 1}
    for value in (1, json.loads("[" * 98 + "]" * 98)):
        assert codec.decode(json_message(json.dumps({**event, "deep": value})))[0]["deep"] == value
    deep = b'{"type": "x", "deep": ' + b"[" * 200 + b"]" * 200 + b"}"
    for body in (deep, deep.replace(b'"x"', b'"task-started"'), b"[" + deep + b"]"):
        assert codec.decode(json_message(body))[0]["deep"] == "<nested too deep>"
    assert codec.defects["nested too deep"].count == 3
