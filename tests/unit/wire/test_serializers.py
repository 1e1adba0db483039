"""Serialisers: what they read, what of it is made plain, and what they refuse."""

import collections
import contextlib
import datetime as dt
import decimal
import json
import pickle
import signal
import sys
import uuid
import zoneinfo
from unittest.mock import ANY

import dateutil.tz
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evtools.errors import DecodeError
from evtools.wire.serializers import (
    DEPTH_MAX,
    READERS,
    SLOW_MAX_BYTES,
    decode_json,
    read_msgpack,
    read_values,
)
from evtools.wire.values import Pairs, fields_of, plain

UUID = uuid.UUID("eacdf44c-6aa4-4bb2-8c0e-0d2f1fe1a1ef")
NOON = dt.datetime(2026, 11, 20, 12, tzinfo=dt.UTC)


def plainly(name):
    """The reader of a serialiser, with values that are made plain."""

    def decode(body):
        value = READERS[name][1](body)
        if type(value) in (dict, Pairs):
            return fields_of(value, [])
        return plain(value)

    return decode


decode_plainly, decode_msgpack, decode_yaml, decode_pickle = map(
    plainly, ("json", "msgpack", "yaml", "pickle")
)


def refusal(decode, body):
    with pytest.raises(DecodeError) as caught:
        decode(body)
    return caught.value


def nested(depth, value=1):
    for _ in range(depth):
        value = [value]
    return value


# --- JSON ----------------------------------------------------------------------


@pytest.mark.parametrize("wrap", [nested, lambda depth: {"a": nested(depth - 1)}])
def test_json_may_be_nested_as_deep_as_is_reasonable(wrap):
    # Enough brackets beside it to make anybody suspicious.
    beside = json.dumps([[], {}] * 100)
    fine = f"[{beside}, {json.dumps(wrap(DEPTH_MAX - 1))}]".encode()
    deep = f"[{beside}, {json.dumps(wrap(DEPTH_MAX))}]".encode()
    assert decode_json(fine) == json.loads(fine)
    with pytest.raises(RecursionError, match="nested deeper than 100"):
        decode_json(deep)
    assert refusal(decode_plainly, deep).kind == "nested too deep"


# --- plain ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "is_plain"),
    [
        ({1: 2, None: 3, False: 4, 2.5: 5}, {"1": 2, "None": 3, "False": 4, "2.5": 5}),
        ({(1, b"x"): 2, b"key": 1}, {"[1, 'eA==']": 2, "a2V5": 1}),
        ((1, (2, [3])), [1, [2, [3]]]),
        (frozenset({1}), [1]),
        (float("nan"), "nan"),
        (float("-inf"), "-inf"),
        (b"\xff", "/w=="),
        (bytearray(b"\xff"), "/w=="),
        (NOON, "2026-11-20T12:00:00Z"),
        (NOON.date(), "2026-11-20"),
        (dt.timedelta(seconds=90), "PT90S"),
        (decimal.Decimal("1.10"), "1.10"),
        (UUID, str(UUID)),
        (object(), "object"),
        (10**4299, 10**4299),
        (-(10**4299), -(10**4299)),
        ("caf\u00e9", "caf\u00e9"),
        ("a\ud800\U0001f600", "a\\ud800\U0001f600"),
    ],
)
def test_foreign_values_become_what_json_writers_make_of_them(value, is_plain):
    assert plain(value) == is_plain
    msgspec.json.encode(plain(value))


@given(st.integers(), st.integers(14_270, 14_300))
def test_every_integer_can_be_written(value, bits):
    value <<= bits
    written = plain(value)
    assert int(written, 16) == value if isinstance(written, str) else written == value
    msgspec.json.encode(written)


# --- msgpack -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "is_plain"),
    [
        ({"a": [1, -1, 2.5, None, True]}, {"a": [1, -1, 2.5, None, True]}),
        ({1: b"x"}, {"1": "eA=="}),
        (msgspec.msgpack.Ext(5, b"data"), "<msgpack extension 5, 4 bytes>"),
        ([2**64 - 1, -(2**63), 200, 70_000, -200, 1e300], ANY),
        (["x" * 40, "x" * 300, "x" * 70_000, b"x" * 300, b"x" * 70_000], ANY),
        ([[0] * 20, [0] * 70_000, {str(key): 0 for key in range(70_000)}], ANY),
        (dt.datetime(1969, 1, 1, 0, 0, 0, 5, tzinfo=dt.UTC), ANY),
        (NOON, "2026-11-20T12:00:00Z"),
        (float("inf"), "inf"),
    ],
)
def test_msgpack_is_read(value, is_plain):
    body = msgspec.msgpack.encode(value)
    assert decode_msgpack(body) == is_plain
    if is_plain is ANY:
        assert decode_msgpack(body) == plain(msgspec.msgpack.decode(body))


@pytest.mark.parametrize(
    "body",
    [b"", b"\xc1", b"\xdd\xff\xff\xff\xff", b"\x91" * 5000, b"\x01\x01"],
    ids=["empty", "reserved", "promise", "deep", "more"],
)
def test_what_is_no_msgpack_is_named(body):
    assert refusal(decode_msgpack, body).kind == "no msgpack"


def packed(text):
    """A text of msgpack, of any bytes."""
    return bytes([0xD9, len(text)]) + text


PACKED = st.recursive(
    st.one_of(
        *(st.none(), st.booleans(), st.integers(-(2**63), 2**64 - 1), st.floats()),
        *(st.text(max_size=9), st.binary(max_size=9)),
        st.datetimes(timezones=st.just(dt.UTC)),
        st.builds(msgspec.msgpack.Ext, st.integers(-128, 127), st.binary(max_size=9)),
    ).map(msgspec.msgpack.encode)
    | st.sampled_from([b"\xca\x3f\x80\x00\x01", b"\xff", b"\xc1", b"\xcb\x7f"])
    | st.binary(max_size=9).map(packed),
    lambda parts: (
        st.lists(parts, max_size=4).map(lambda items: bytes([0x90 + len(items)]) + b"".join(items))
        | st.lists(
            st.tuples(st.sampled_from([b"\xa1a", b"\xa1b", b"\xa1\xff"]) | parts, parts), max_size=4
        ).map(lambda pairs: bytes([0x80 + len(pairs)]) + b"".join(map(b"".join, pairs)))
    ),
    max_leaves=20,
)


@given(PACKED, st.sampled_from([b"", b"\x00"]))
def test_usual_msgpack_says_the_same_as_when_it_is_read_value_by_value(body, rest):
    def said(read):
        lost = []
        try:
            value = read(body + rest)
            fields = fields_of(value, lost) if type(value) in (dict, Pairs) else value
            return json.dumps(plain(fields)), lost
        except DecodeError as error:
            return error.kind

    assert said(read_msgpack) == said(read_values)


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ({"a": {(1, 2): 3}}, Pairs),
        ({"a": {1: 2}}, Pairs),
        ({"a": b"x"}, Pairs),
        ([{"a": "x" * SLOW_MAX_BYTES}], list),
        ({"type": "task-sent", "a": [{"b": [1, 2.5, None, True, "c"]}]}, dict),
    ],
)
def test_no_key_of_a_stranger_but_a_text_is_hashed(value, kind):
    assert type(read_msgpack(msgspec.msgpack.encode(value))) is kind


# --- YAML ----------------------------------------------------------------------


def test_yaml_is_read():
    body = b"{a: [1, 2.5, yes, ~], d: 2026-11-20, s: !!set {x}, b: !!binary /w==}"
    read = {"a": [1, 2.5, True, None], "d": "2026-11-20", "s": ["x"], "b": "/w=="}
    assert decode_yaml(body) == read


@pytest.mark.parametrize("body", [*(b"a: [", b"a: b: c", b"\0", b"\xff\xff", b"--- a\n--- b")])
def test_what_is_no_yaml_is_named(body):
    assert refusal(decode_yaml, body).kind == "no YAML"


@pytest.mark.parametrize("level", ["[", "- ", "{a: "])
def test_yaml_may_be_nested_as_deep_as_is_reasonable(level):
    closing = {"[": "]", "- ": "", "{a: ": "}"}[level]

    def body(depth):
        return (level * depth + "1" + closing * depth).encode()

    assert "deep" not in str(decode_yaml(body(DEPTH_MAX)))
    assert "<nested too deep>" in str(decode_yaml(body(DEPTH_MAX + 1)))
    assert refusal(decode_yaml, body(5000)).kind == "nested too deep"


def test_a_long_yaml_is_not_even_looked_at():
    body = b"- 1\n" * SLOW_MAX_BYTES
    assert refusal(decode_yaml, body).kind == "message too large"


def test_without_pyyaml_yaml_says_what_is_needed(monkeypatch):
    monkeypatch.setitem(sys.modules, "yaml", None)
    assert refusal(decode_yaml, b"a: 1").kind == "YAML events need PyYAML"


# --- pickle --------------------------------------------------------------------

LOCALLY = NOON.replace(tzinfo=None)
#: What is pickled, and what it is read as.
# fmt: off
PICKLED = [
    (NOON, "2026-11-20T12:00:00Z"), (NOON.date(), "2026-11-20"), (NOON.time(), "12:00:00"),
    (LOCALLY.replace(tzinfo=zoneinfo.ZoneInfo("Europe/Berlin")),
     "2026-11-20T12:00:00[Europe/Berlin]"),
    (LOCALLY.replace(tzinfo=dateutil.tz.tzutc()), "2026-11-20T12:00:00Z"),
    (LOCALLY.replace(tzinfo=dt.timezone(dt.timedelta(hours=2))), "2026-11-20T12:00:00+02:00"),
    (dt.timedelta(days=1), "P1D"), (decimal.Decimal("1.10"), "1.10"), (UUID, str(UUID)),
    ({1}, [1]), (frozenset({(2, 3)}), [[2, 3]]), ({(1, "a"): 2}, {"[1, 'a']": 2}),
    (b"\xff", "/w=="), ((1, "a", None, True, 2.5, 1 << 70), [1, "a", None, True, 2.5, 1 << 70]),
    (signal.SIGTERM, 15), (collections.OrderedDict(a=1), {"a": 1}),
    (collections.defaultdict(list, a=[1]), {"a": [1]}), (collections.deque([1, 2]), [1, 2]),
]
# fmt: on


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_pickles_of_ordinary_objects_are_read_in_every_protocol(protocol):
    values, read = zip(*PICKLED, strict=True)
    assert decode_pickle(pickle.dumps({"x": [*values]}, protocol)) == {"x": [*read]}


class Call:
    """Pickles to a call of `function` on loading."""

    def __init__(self, function, *arguments):
        self._reduced = function, arguments

    def __reduce__(self):
        return self._reduced


@pytest.fixture
def witness(tmp_path):
    return tmp_path / "executed"


def calls(witness):
    """Pickles that would leave a file if anything of them were executed."""
    import os
    import subprocess

    command = f"touch {witness}"
    yield pickle.dumps(Call(os.system, command))
    yield pickle.dumps({"type": "a", "x": [Call(subprocess.getoutput, command)]})
    yield pickle.dumps(Call(eval, f"open({str(witness)!r}, 'w')"))
    yield pickle.dumps(Call(exec, f"open({str(witness)!r}, 'w')"))
    yield pickle.dumps(Call(open, str(witness), "w"))
    yield pickle.dumps(Call(getattr, dt.datetime, "now"))
    # The same in the opcodes of old: GLOBAL, INST, OBJ, and a dotted name.
    yield f"cos\nsystem\n(S'{command}'\ntR.".encode()
    yield f"(S'{command}'\nios\nsystem\n.".encode()
    yield f"(cos\nsystem\nS'{command}'\no.".encode()
    yield b"\x80\x04\x8c\x08datetime\x8c\x11datetime.__class__\x93."
    yield b"\x80\x04\x8c\x08datetime\x8c\x0asys.exit\x93."
    yield b"Pid\n."
    yield b"\x80\x02\x82\x01."


def test_no_pickle_makes_us_call_anything(witness):
    for body in calls(witness):
        with contextlib.suppress(DecodeError):
            decode_pickle(body)
    assert not witness.exists()


def test_no_pickle_changes_the_classes_it_may_use():
    name = b"\x8c\x04uuid\x8c\x04UUID\x93"
    for state in (
        b"}\x8c\x07__str__Ns",  # a dictionary of the class
        b"N}\x8c\x07__str__Ns\x86",  # and the same for its slots
    ):
        assert decode_pickle(b"\x80\x04" + name + state + b"b.") == "<uuid.UUID>"
    assert str(UUID) == "eacdf44c-6aa4-4bb2-8c0e-0d2f1fe1a1ef"


def numpy(kind, order, data):
    """A pickle of a scalar, as numpy writes it with protocol 2."""
    dtype = f"cnumpy\ndtype\n(U\2{kind}\x89\x88tR(K\3U\1{order}NNNJ\xff\xff\xff\xfftb"
    size = chr(len(data))
    return f"cnumpy._core.multiarray\nscalar\n({dtype}U{size}{data}tR"


#: The beginning of a pickle of a time in a zone that follows.
NOON_IN = "cdatetime\ndatetime\n(U\n\x07\xea\x0b\x14\x0c\0\0\0\0\0"


@pytest.mark.parametrize(
    ("call", "shown"),
    [
        ("cuuid\nUUID\n)R}(U\3intU\1xub", "<uuid.UUID>"),
        ("cdatetime\ndatetime\n(K\1tR", "<datetime.datetime 1>"),
        ("cdatetime\ndate\n(U\1xtR", "<datetime.date x>"),
        ("cdatetime\ntimedelta\n(U\1xtR", "<datetime.timedelta x>"),
        ("cdecimal\nDecimal\n(U\1xtR", "<decimal.Decimal x>"),
        ("cbuiltins\nset\n(K\5tR", "<builtins.set 5>"),
        ("cbuiltins\nbytes\n(J\0\0\0\x7ftR", "<builtins.bytes 2130706432>"),
        ("csignal\nSignals\n(K\xfetR", "<signal.Signals 254>"),
        ("csignal\nSIGTERM\n", 15),
        (NOON_IN + "cpytz\n_UTC\n)RtR", "2026-11-20T12:00:00Z"),
        (numpy("f8", "<", "\0\0\0\0\0\0\xf8?"), 1.5),
        (numpy("i4", ">", "\xff\xff\xff\xf9"), -7),
        (numpy("b1", "|", "\1"), True),
        (numpy("M8", "<", "\xe6O\0\0\0\0\0\0"), "<numpy.M8>"),
        (numpy("i4", "<", "\0"), "<numpy._core.multiarray.scalar>"),
        ("cnumpy._core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\0tR", "<numpy.ndarray>"),
        (NOON_IN + "cpytz\nFixedOffset\n(K\x5atRtR", "2026-11-20T12:00:00+01:30"),
        (NOON_IN + "cpytz\n_p\n(U\1xM\x10\x0eK\0U\3CETtRtR", "2026-11-20T12:00:00+01:00"),
        (NOON_IN + "cpytz\n_p\n(U\3CETtRtR", "2026-11-20T12:00:00[CET]"),
        (NOON_IN + "cshop\nZone\n)RtR", "2026-11-20T12:00:00 <shop.Zone>"),
        ("cshop\nText\n(U\4texttR", "<shop.Text text>"),
        ("cshop\nCard\n(K\1K\2tR", "<shop.Card>"),
        ("Pid\n", "<persistent id>"),
        ("K\1Q", "<persistent id>"),
        ("\x82\1", "<extension 1>"),
    ],
)
def test_an_object_is_what_it_says_or_is_shown_by_its_name(call, shown):
    assert decode_pickle(b"\x80\2" + call.encode("latin-1") + b".") == shown


@pytest.mark.parametrize("body", [b"", b".", b"\x80", b"}", b"\x80\x02]h\xff.", b"0."])
def test_what_is_no_pickle_is_named(body):
    assert refusal(decode_pickle, body).kind == "no acceptable pickle"


def laughs(value, levels=20):
    for _ in range(levels):
        value = [value] * 10
    return value


def circle():
    value = {}
    value["again"] = value
    return value


@pytest.mark.parametrize(
    "value",
    [
        laughs("ha"),
        laughs(()),
        laughs({}),
        circle(),
        ["x" * 100_000] * 100,
        [b"x" * 100_000] * 100,
        [[1 << 800_000]] * 100,
        [decimal.Decimal("9" * 100_000)] * 100,
    ],
    ids=["text", "tuples", "maps", "circle", "long", "bytes", "integers", "decimals"],
)
def test_a_value_that_grows_when_unpacked_is_left_out(value):
    body = pickle.dumps({"type": "a", "x": value, "y": 1})
    assert len(body) < SLOW_MAX_BYTES
    shown = ("<grows when unpacked>", "<nested too deep>")
    found = decode_pickle(body)
    assert found.pop("x") in shown
    assert found == {"type": "a", "y": 1}


def test_sharing_within_reason_is_fine():
    shared = {"a": [1, 2], "b": "text"}
    assert decode_pickle(pickle.dumps([shared] * 100)) == [shared] * 100


def test_a_pickle_that_asks_for_memory_up_front_gets_none():
    assert decode_pickle(b"\x80\x02}r\xff\xff\xff\x7f.") == {}
    promise = b"\x80\x05\x96" + (1 << 40).to_bytes(8, "little") + b"x."
    assert refusal(decode_pickle, promise).kind == "no acceptable pickle"


def test_a_long_pickle_is_not_even_looked_at():
    body = pickle.dumps([1] * SLOW_MAX_BYTES)
    assert refusal(decode_pickle, body).kind == "message too large"
