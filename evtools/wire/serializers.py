"""The serializers Celery can send events with, read into JSON's own types; compression."""

import bz2
import json
import lzma
import math
import pickletools
import re
import zlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Final

import msgspec
import zstandard

from evtools.errors import DecodeError
from evtools.wire.values import (
    DEPTH_MAX,
    DIGITS_MAX,
    Foreign,
    Lost,
    Pairs,
    Unquoted,
    bounded,
    fields_of,
    plain,
    unknown,
)

# --- JSON -------------------------------------------------------------------------

#: How long a JSON text may be in which we look for what is nested too deep.
_CUT_MAX_CHARS: Final = 1024 * 1024
#: In a field of an event in a batch, too, this is deeper than is allowed.
_CUT_DEPTH: Final = DEPTH_MAX + 10
#: How many there may be in a JSON text of which Python makes plain values one by one.
_COMMAS_MAX: Final = 1 << 20
#: A string, which may lack its end, and what containers begin and end with.
_BRACKET: Final = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"?|[\[{\]}]', re.DOTALL)

#: What msgspec raises for JSON that it does not read.
BROKEN_JSON: Final = (msgspec.MsgspecError, ValueError, RecursionError)

_json = msgspec.json.Decoder()


def decode_json(body: bytes) -> Any:
    """Decode strict JSON; raise what msgspec raises.

    What is nested past reason could not be written out again and raises
    RecursionError.
    """
    value = _json.decode(body)
    if body.count(b"[") + body.count(b"{") > DEPTH_MAX and is_deep(value):
        raise RecursionError(f"nested deeper than {DEPTH_MAX}")
    return value


def is_deep(value: Any) -> bool:
    """Return whether there are containers below the deepest level allowed."""
    level = [value]
    for _ in range(DEPTH_MAX):
        level = [
            item
            for container in level
            for item in (container.values() if type(container) is dict else container)
            if type(item) is dict or type(item) is list
        ]
        if not level:
            return False
    return True


def read_json(body: bytes) -> Any:
    """Decode JSON as Python writes it; `plain` makes real JSON of the value.

    Celery serialises with Python's json, which also writes NaN, Infinity and
    lone surrogates.  They, and numbers beyond all bounds, are kept as the
    strings that stood there; bytes that are no UTF-8 become lone surrogates.
    """
    with suppress(*BROKEN_JSON):
        return _json.decode(body)
    try:
        text = body.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        text = body.decode("utf-8", "surrogateescape")
    try:
        return _loads(text)
    except RecursionError:
        return _loads(_cut(text))


def read_fields(text: bytes, lost: list[Lost]) -> Any:
    """Return what a line of JSON says, in JSON's own types.

    Of an object, what cannot be had costs itself, and is added to `lost`.
    """
    try:
        return decode_json(text)
    except BROKEN_JSON:
        value = read_json(text)
    return fields_of(value, lost) if type(value) is dict else plain(value)


def _loads(text: str) -> Any:
    if text.count(",") > _COMMAS_MAX:
        raise DecodeError("too many values")
    try:
        return json.loads(
            text,
            parse_constant=Unquoted,
            parse_float=lambda text: (
                value if math.isfinite(value := float(text)) else Unquoted(text)
            ),
            parse_int=lambda text: int(text) if len(text) <= DIGITS_MAX else Unquoted(text),
        )
    except ValueError as error:
        raise DecodeError("no JSON", str(error)) from None


def _cut(text: str) -> str:
    """Return JSON in which nothing is much deeper than is allowed, but still too deep.

    A parser reads that; to refuse it is for those who look at the value.
    """
    if len(text) > _CUT_MAX_CHARS:
        raise DecodeError("nested too deep")
    kept, depth, start = [], 0, 0
    for found in _BRACKET.finditer(text):
        if found[0] in "[{":
            depth += 1
            if depth == _CUT_DEPTH:
                kept.append(text[start : found.start()])
        elif found[0] in "]}":
            if depth == _CUT_DEPTH:
                kept.append("0")
                start = found.end()
            depth -= 1
    return "".join([*kept, text[start:] if depth < _CUT_DEPTH else ""])


# --- msgpack ----------------------------------------------------------------------

# msgspec's own decoder hashes whatever stands as a key, and refuses a message for one
# text that is no UTF-8.  It is much faster, and used for what events usually are:
# texts, numbers and some levels of containers, whose keys are texts.

#: Longer bodies are read by ourselves: one byte can be a list, and we count values.
MSGPACK_MAX_BYTES: Final = 256 * 1024
_USUAL_DEPTH: Final = 6
#: More than a batch has, and less than takes a second.
_VALUES_MAX: Final = 1 << 19

_usual: Any = str | bool | int | float | None
for _ in range(_USUAL_DEPTH):
    _usual = str | bool | int | float | None | list[_usual] | dict[str, _usual]
_decode_usual: Final = msgspec.msgpack.Decoder(_usual).decode
_decode_one: Final = msgspec.msgpack.Decoder().decode

# fmt: off
#: By their first byte, how wide the size of a value is, and what is added to it.
_SIZES: Final[dict[int, tuple[int, int]]] = {
    **dict.fromkeys([*range(0x80), *range(0xE0, 0x100), 0xC0, 0xC2, 0xC3], (0, 0)),
    **{0xA0 + size: (0, size) for size in range(32)},
    0xD9: (1, 0), 0xDA: (2, 0), 0xDB: (4, 0),
    0xC4: (1, 0), 0xC5: (2, 0), 0xC6: (4, 0),
    0xCA: (0, 4), 0xCB: (0, 8), 0xCC: (0, 1), 0xCD: (0, 2), 0xCE: (0, 4), 0xCF: (0, 8),
    0xD0: (0, 1), 0xD1: (0, 2), 0xD2: (0, 4), 0xD3: (0, 8),
    # Extensions, with a byte that says which.
    0xC7: (1, 1), 0xC8: (2, 1), 0xC9: (4, 1),
    0xD4: (0, 2), 0xD5: (0, 3), 0xD6: (0, 5), 0xD7: (0, 9), 0xD8: (0, 17),
}
#: The same of containers, in values; those of a mapping come in pairs.
_LISTS: Final = {0xDC: (2, 0), 0xDD: (4, 0), **{0x90 + size: (0, size) for size in range(16)}}
_MAPPINGS: Final = {0xDE: (2, 0), 0xDF: (4, 0), **{0x80 + size: (0, size) for size in range(16)}}
_ALL_SIZES: Final = _SIZES | _LISTS | _MAPPINGS
# fmt: on


def read_msgpack(body: bytes) -> Any:
    """Return what the body says; raise DecodeError for one that is broken.

    Mappings are Pairs, or dictionaries of the usual.
    """
    if len(body) <= MSGPACK_MAX_BYTES:
        with suppress(msgspec.MsgspecError, ValueError):
            return _decode_usual(body)
    return read_values(body)


def read_values(body: bytes) -> Any:
    """Return the same, one value at a time; mappings are Pairs.

    However deep it is nested, Python's stack is not used.
    """
    place = 0
    #: The containers we are in: what they have so far, and how much they lack.
    waiting: list[tuple[list[Any], int, bool]] = []
    found: list[Any] = []
    missing, is_mapping = 1, False
    for _ in range(_VALUES_MAX):
        while len(found) == missing:
            if not waiting:
                if place < len(body):
                    raise DecodeError("no msgpack", "it goes on after its end")
                return found[0]
            whole = _pairs(found) if is_mapping else found
            found, missing, is_mapping = waiting.pop()
            found.append(whole)
        start, first = place, body[place] if place < len(body) else 0
        if first not in _ALL_SIZES:
            raise DecodeError("no msgpack", f"it has the byte 0x{first:x}")
        width, size = _ALL_SIZES[first]
        place += 1 + width
        size += int.from_bytes(body[start + 1 : place], "big")
        if first in _SIZES:
            place += size
        if place > len(body):
            raise DecodeError("no msgpack", "it ends too early")
        if first in _SIZES:
            found.append(_leaf(body[start:place], width))
        else:
            waiting.append((found, missing, is_mapping))
            is_mapping = first in _MAPPINGS
            found, missing = [], 2 * size if is_mapping else size
    raise DecodeError("too many values", f"over {_VALUES_MAX}")


def _pairs(flat: list[Any]) -> Pairs:
    return Pairs(zip(flat[::2], flat[1::2], strict=True))


def _leaf(packed: bytes, width: int) -> Any:
    with suppress(msgspec.MsgspecError, ValueError):
        value = _decode_one(packed)
        if type(value) is not msgspec.msgpack.Ext:
            return value
    data = packed[1 + width :]
    if packed[0] in _EXTENSIONS:
        code = int.from_bytes(data[:1], "big", signed=True)
        name = f"msgpack extension {code}"
        return Lost(f"<{name}, {len(data) - 1} bytes>", "value of unknown type", name)
    # What is no UTF-8 is shown as the bytes that stand there.
    return data.decode("utf-8", "surrogateescape")


_EXTENSIONS: Final = frozenset({*range(0xC7, 0xCA), *range(0xD4, 0xD9)})

# --- YAML -------------------------------------------------------------------------

#: YAML and pickle are read by Python code, slowly, and can say much in little.
#: A full batch of 24 events, 10 kB each, fits.
SLOW_MAX_BYTES: Final = 256 * 1024
#: What they may grow to, in values and characters.
_GROWN_MAX: Final = 4 * SLOW_MAX_BYTES

_STANDARD: Final = "tag:yaml.org,2002:"
#: Senders do not mean what these mean in YAML.
_YAML_TEXTS: Final = frozenset({f"{_STANDARD}merge", f"{_STANDARD}value"})
_YAML_LISTS: Final = frozenset({"!", "seq", "omap", "pairs", "python/list", "python/tuple"})
_YAML_MAPPINGS: Final = frozenset({"!", "map", "python/dict"})
#: PyYAML's scanner gets slower with each level.
_TOO_DEEP_MAX: Final = 200
_DEEP: Final = Lost("<nested too deep>", "nested too deep")
_UNDEFINED: Final = Lost("<alias of nothing>", "alias of nothing")


def _check_slow(body: bytes) -> None:
    if len(body) > SLOW_MAX_BYTES:
        raise DecodeError("message too large", f"over {SLOW_MAX_BYTES} bytes of YAML or pickle")


def read_yaml(body: bytes) -> Any:
    """Return what the one document in `body` describes; no object is made of it.

    Raise DecodeError for what is no YAML.
    """
    _check_slow(body)
    try:
        import yaml  # noqa: PLC0415  (optional, and rare)
    except ImportError:
        raise DecodeError("YAML events need PyYAML") from None
    try:
        value = _document(yaml, yaml.SafeLoader(body))
    except DecodeError:
        raise
    except Exception as error:  # noqa: BLE001  (PyYAML raises anything on odd input)
        raise DecodeError("no YAML", str(error).replace("\n", " ")) from None
    return bounded(value, _GROWN_MAX)


def _document(yaml: Any, loader: Any) -> Any:
    """Return the value of a document; what is named in several places is one value."""
    anchors: dict[str, Any] = {}
    #: The containers we are in: their beginning, they themselves, and what is in them.
    levels: list[tuple[Any, Any, list[Any]]] = [(None, None, [])]
    too_deep = 0
    while not isinstance(event := loader.get_event(), yaml.StreamEndEvent):
        is_beyond = len(levels) > DEPTH_MAX + 1
        too_deep += is_beyond
        if too_deep > _TOO_DEEP_MAX:
            raise DecodeError("nested too deep")
        if isinstance(event, yaml.CollectionStartEvent):
            # Known before it is filled: it may contain itself.
            anchors[event.anchor] = whole = (
                Pairs() if isinstance(event, yaml.MappingStartEvent) else []
            )
            levels.append((event, whole, []))
            continue
        if isinstance(event, yaml.CollectionEndEvent):
            event, whole, parts = levels.pop()
            value = _filled(event.tag, whole, parts)
        elif isinstance(event, yaml.AliasEvent):
            value = anchors.get(event.anchor, _UNDEFINED)
        elif isinstance(event, yaml.ScalarEvent):
            value = _DEEP if is_beyond else _scalar(yaml, loader, event)
        else:
            continue
        anchors[event.anchor] = value
        levels[-1][2].append(value)
    values = levels[0][2]
    if len(values) > 1:
        raise DecodeError("no YAML", "it goes on after its end")
    return values[0] if values else None


def _filled(tag: str | None, whole: Any, parts: list[Any]) -> Any:
    tag = (tag or "!").removeprefix(_STANDARD)
    if type(whole) is not Pairs:
        whole.extend(parts)
        return whole if tag in _YAML_LISTS else unknown(tag)
    whole.extend(_pairs(parts))
    if tag == "set":
        return [key for key, _ in whole]
    return whole if tag in _YAML_MAPPINGS else unknown(tag)


def _scalar(yaml: Any, loader: Any, event: Any) -> Any:
    text, tag = event.value, event.tag
    if tag is None or tag == "!":
        tag = loader.resolve(yaml.ScalarNode, text, event.implicit)
    if tag in _YAML_TEXTS:
        return text
    make = loader.yaml_constructors.get(tag)
    if make is None:
        return unknown(tag.removeprefix(_STANDARD))
    if len(text) > DIGITS_MAX and tag != f"{_STANDARD}binary":
        return text
    try:
        return make(loader, yaml.ScalarNode(tag, text))
    except Exception:  # noqa: BLE001  (PyYAML raises anything on odd scalars)
        return text


# --- pickle -----------------------------------------------------------------------

# A pickle is read as a description of values: nothing is made, hashed or called.
# Each opcode takes time in proportion to the bytes that it stands for.  `genops`
# refuses lengths beyond the end of the body.

# fmt: off
_RECONSTRUCTORS: Final = (
    "copyreg._reconstructor", "copyreg.__newobj__",
    "numpy.core.multiarray._reconstruct", "numpy._core.multiarray._reconstruct",
)
# fmt: on
#: What modules of Python 2 are called today; protocols up to 2 name those.
_MODULES: Final = {"__builtin__": "builtins", "copy_reg": "copyreg", "exceptions": "builtins"}
#: Where a list of arguments begins on the stack.
_MARK: Final = object()


def read_pickle(body: bytes) -> Any:
    """Return what a pickle describes; raise DecodeError for one that is broken."""
    _check_slow(body)
    pickle = _Pickle()
    try:
        for opcode, argument, _ in pickletools.genops(body):
            name = opcode.name
            if name in _ACTIONS:
                _ACTIONS[name](pickle, argument)
            else:
                pickle.stack.append(_VALUES[name](pickle, argument))
        (value,) = pickle.stack
    except Exception as error:  # noqa: BLE001  (broken pickles raise anything)
        raise DecodeError("no acceptable pickle", str(error)) from None
    return bounded(value, _GROWN_MAX)


class _Pickle:
    """The machine that pickles are programs of, with a stack and a memory."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.memory: dict[int, Any] = {}

    def last(self, count: int) -> list[Any]:
        return [self.stack.pop() for _ in range(count)][::-1]

    def marked(self) -> list[Any]:
        return list(iter(self.stack.pop, _MARK))[::-1]

    def put(self, place: int) -> None:
        self.memory[place] = self.stack[-1]

    def extend(self, items: list[Any]) -> None:
        """Add to the list on the stack, or pairs to the mapping there."""
        target = self.stack[-1]
        if isinstance(target, Foreign):
            target = target.pairs if type(items) is Pairs else target.items
        if type(target) is not type(items):
            raise TypeError("neither a list nor a mapping")
        target.extend(items)

    def set_state(self, _: Any) -> None:
        state = self.stack.pop()
        self.stack[-1].state = state


def _named(module: str, name: str) -> Foreign:
    return Foreign(f"{_MODULES.get(module, module)}.{name}")


def _called(function: Any, arguments: Any, _names: Any = None) -> Foreign:
    """Describe the object that a call would give."""
    name = _name_of(function)
    if not isinstance(arguments, tuple):
        raise TypeError("no arguments")
    if name == "builtins.getattr":
        owner, attribute = arguments
        return Foreign(f"{_name_of(owner)}.{attribute[:100]}")
    if name in _RECONSTRUCTORS:
        # Called with the class, one that it is derived from, and a value of that.
        name, arguments = _name_of(arguments[0]), arguments[2:]
    return Foreign(name, arguments)


def _name_of(function: Any) -> str:
    if not isinstance(function, Foreign):
        raise TypeError("no class")
    return function.name


#: What is on the stack afterwards is what stands in the pickle.
_LITERALS: Final = frozenset(
    opcode.name
    for opcode in pickletools.opcodes
    if opcode.arg is not None and not opcode.stack_before and len(opcode.stack_after) == 1
) - {"GET", "BINGET", "LONG_BINGET", "EXT1", "EXT2", "EXT4", "GLOBAL", "PERSID"}

# fmt: off
#: The values that opcodes put on the stack.
_VALUES: Final[Mapping[str, Callable[[_Pickle, Any], Any]]] = {
    **dict.fromkeys(_LITERALS, lambda _, value: value),
    "NONE": lambda *_: None,
    "NEWTRUE": lambda *_: True,
    "NEWFALSE": lambda *_: False,
    **dict.fromkeys(("EMPTY_LIST", "EMPTY_SET"), lambda *_: []),
    "EMPTY_TUPLE": lambda *_: (),
    "EMPTY_DICT": lambda *_: Pairs(),
    "NEXT_BUFFER": lambda *_: Foreign("buffer"),
    "MARK": lambda *_: _MARK,
    "TUPLE1": lambda pickle, _: tuple(pickle.last(1)),
    "TUPLE2": lambda pickle, _: tuple(pickle.last(2)),
    "TUPLE3": lambda pickle, _: tuple(pickle.last(3)),
    "TUPLE": lambda pickle, _: tuple(pickle.marked()),
    **dict.fromkeys(("LIST", "FROZENSET"), lambda pickle, _: pickle.marked()),
    "DICT": lambda pickle, _: _pairs(pickle.marked()),
    "DUP": lambda pickle, _: pickle.stack[-1],
    **dict.fromkeys(("GET", "BINGET", "LONG_BINGET"), lambda pickle, place: pickle.memory[place]),
    "GLOBAL": lambda _, text: _named(*text.split(" ", 1)),
    "STACK_GLOBAL": lambda pickle, _: _named(*pickle.last(2)),
    "INST": lambda pickle, text: _called(_named(*text.split(" ", 1)), tuple(pickle.marked())),
    "OBJ": lambda pickle, _: _called((parts := pickle.marked())[0], tuple(parts[1:])),
    **dict.fromkeys(("REDUCE", "NEWOBJ"), lambda pickle, _: _called(*pickle.last(2))),
    "NEWOBJ_EX": lambda pickle, _: _called(*pickle.last(3)),
    "PERSID": lambda *_: Foreign("persistent id"),
    "BINPERSID": lambda pickle, _: pickle.last(1) and Foreign("persistent id"),
    **dict.fromkeys(("EXT1", "EXT2", "EXT4"), lambda _, code: Foreign(f"extension {code}")),
}
#: What the others do.
_ACTIONS: Final[Mapping[str, Callable[[_Pickle, Any], Any]]] = {
    **dict.fromkeys(("PROTO", "FRAME", "READONLY_BUFFER", "STOP"), lambda *_: None),
    "POP": lambda pickle, _: pickle.stack.pop(),
    "POP_MARK": lambda pickle, _: pickle.marked(),
    "APPEND": lambda pickle, _: pickle.extend(pickle.last(1)),
    **dict.fromkeys(("APPENDS", "ADDITEMS"), lambda pickle, _: pickle.extend(pickle.marked())),
    "SETITEM": lambda pickle, _: pickle.extend(_pairs(pickle.last(2))),
    "SETITEMS": lambda pickle, _: pickle.extend(_pairs(pickle.marked())),
    "MEMOIZE": lambda pickle, _: pickle.put(len(pickle.memory)),
    **dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT"), _Pickle.put),
    "BUILD": _Pickle.set_state,
}
# fmt: on

#: Serializer name: the content type it stands for, and what reads it; `fields_of`
#: and `plain` make real JSON of the values.
READERS: Final[Mapping[str, tuple[str, Callable[[bytes], Any]]]] = {
    "json": ("application/json", read_json),
    "msgpack": ("application/x-msgpack", read_msgpack),
    "yaml": ("application/x-yaml", read_yaml),
    "pickle": ("application/x-python-serialize", read_pickle),
}

# --- compression ------------------------------------------------------------------

# fmt: off
#: What unpacks, by the names that kombu has for it, given a limit in bytes.
_UNPACKERS: Final[Mapping[str, Callable[[int], Any]]] = {
    # kombu's "gzip" is zlib's own format; 32 + 15 bits read both.
    **dict.fromkeys(("application/x-gzip", "gzip", "zlib"),
                    lambda _: zlib.decompressobj(zlib.MAX_WBITS | 32)),
    **dict.fromkeys(("application/x-bz2", "bzip2", "bzip"), lambda _: bz2.BZ2Decompressor()),
    **dict.fromkeys(("application/x-lzma", "lzma", "xz"),
                    lambda limit: lzma.LZMADecompressor(memlimit=4 * limit + (64 << 20))),
}
# fmt: on
_ZSTD: Final = frozenset({"application/zstd", "zstd", "zstandard"})


def decompress(body: bytes, name: str, *, max_bytes: int) -> bytes:
    """Unpack `body`, compressed by the method kombu calls `name`.

    Raise DecodeError if the method is unknown, the data is broken, or it
    would grow past `max_bytes`.
    """
    limit = max_bytes + 1
    if name not in _ZSTD and name not in _UNPACKERS:
        raise DecodeError("unknown compression", repr(name)[:64])
    try:
        if name in _ZSTD:
            promised = zstandard.frame_content_size(body)
            with zstandard.ZstdDecompressor().stream_reader(body) as reader:
                data: bytes = reader.read(limit)
            is_whole = len(data) >= min(promised, limit)
        else:
            unpacker = _UNPACKERS[name](limit)
            data = unpacker.decompress(body, limit)
            is_whole = unpacker.eof or len(data) >= limit
    except (zlib.error, OSError, lzma.LZMAError, zstandard.ZstdError, ValueError) as error:
        raise DecodeError("broken compression", str(error)) from None
    if not is_whole:
        raise DecodeError("broken compression", "ends too early")
    if len(data) > max_bytes:
        raise DecodeError("message too large", f"over {max_bytes} bytes unpacked")
    return data
