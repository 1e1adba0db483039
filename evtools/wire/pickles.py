"""Pickles, read as a description of values: nothing is made, hashed or called."""

import pickletools
from collections.abc import Callable, Mapping
from typing import Any, Final

from evtools.wire.values import Foreign, Pairs

# Each opcode takes time in proportion to the bytes that it stands for.  `genops`
# refuses lengths beyond the end of the body.

_RECONSTRUCTORS: Final = (
    "copyreg._reconstructor",
    "copyreg.__newobj__",
    "numpy.core.multiarray._reconstruct",
    "numpy._core.multiarray._reconstruct",
)
#: What modules of Python 2 are called today; protocols up to 2 name those.
_MODULES: Final = {"__builtin__": "builtins", "copy_reg": "copyreg", "exceptions": "builtins"}


class _Mark:
    """Where a list of arguments begins on the stack."""


_MARK: Final = _Mark()


def read_pickle(body: bytes) -> Any:
    """Return what a pickle describes; raise any Exception for one that is broken."""
    reader = _Reader()
    for opcode, argument, _ in pickletools.genops(body):
        if opcode.name == "STOP":
            break
        if opcode.name in _LITERALS:
            reader.stack.append(argument)
        else:
            _STEPS[opcode.name](reader, argument)
    (value,) = reader.stack
    return value


class _Reader:
    """The machine that pickles are programs of, with a stack and a memory."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.memory: dict[int, Any] = {}

    def marked(self) -> list[Any]:
        """Take what was put on the stack since the last mark."""
        taken = []
        while (value := self.stack.pop()) is not _MARK:
            taken.append(value)
        taken.reverse()
        return taken

    def last(self, count: int) -> list[Any]:
        """Take the last `count` values from the stack."""
        taken = [self.stack.pop() for _ in range(count)]
        taken.reverse()
        return taken

    def put(self, place: int) -> None:
        self.memory[place] = self.stack[-1]

    def get(self, place: int) -> None:
        self.stack.append(self.memory[place])

    def name(self, text: str) -> None:
        module, _, name = text.partition(" ")
        self.stack.append(_named(module, name))

    def stack_name(self) -> None:
        module, name = self.last(2)
        self.stack.append(_named(module, name))

    def call(self, arguments: Any, function: Any) -> None:
        """Describe the object that a call would give."""
        name = _class_of(function)
        if not isinstance(arguments, tuple):
            raise TypeError("no arguments")
        if name in _RECONSTRUCTORS:
            # Called with the class, one that it is derived from, and a value of that.
            what, *rest = arguments
            name, arguments = _class_of(what), tuple(rest[1:])
        elif name == "builtins.getattr":
            owner, attribute = arguments
            name, arguments = f"{_class_of(owner)}.{attribute[:100]}", ()
        self.stack.append(Foreign(name, arguments))

    def reduce(self) -> None:
        function, arguments = self.last(2)
        self.call(arguments, function)

    def new(self) -> None:
        function, arguments = self.last(2)
        self.call(arguments, function)

    def new_with_names(self) -> None:
        function, arguments, _ = self.last(3)
        self.call(arguments, function)

    def instance(self, text: str) -> None:
        arguments = tuple(self.marked())
        self.name(text)
        self.call(arguments, self.stack.pop())

    def object(self) -> None:
        function, *arguments = self.marked()
        self.call(tuple(arguments), function)

    def persistent(self) -> None:
        """Describe what the sender keeps elsewhere."""
        self.stack[-1] = Foreign("persistent id")

    def build(self) -> None:
        state = self.stack.pop()
        self.stack[-1].state = state

    def append(self, items: list[Any]) -> None:
        target = self.stack[-1]
        found = target.items if isinstance(target, Foreign) else target
        if type(found) is not list:
            raise TypeError("no list")
        found.extend(items)

    def set_items(self, flat: list[Any]) -> None:
        target = self.stack[-1]
        pairs = target.pairs if isinstance(target, Foreign) else target
        if type(pairs) is not Pairs:
            raise TypeError("no mapping")
        pairs.extend(zip(flat[::2], flat[1::2], strict=True))


def _named(module: str, name: str) -> Foreign:
    return Foreign(f"{_MODULES.get(module, module)}.{name}")


def _class_of(function: Any) -> str:
    if not isinstance(function, Foreign):
        raise TypeError("no class")
    return function.name


def _push(make: Callable[[], Any]) -> Callable[[_Reader, Any], None]:
    return lambda reader, _: reader.stack.append(make())


def _tuple(count: int) -> Callable[[_Reader, Any], None]:
    return lambda reader, _: reader.stack.append(tuple(reader.last(count)))


def _marked(make: Callable[[list[Any]], Any]) -> Callable[[_Reader, Any], None]:
    return lambda reader, _: reader.stack.append(make(reader.marked()))


def _pairs(flat: list[Any]) -> Pairs:
    return Pairs(zip(flat[::2], flat[1::2], strict=True))


def _extension(reader: _Reader, code: int) -> None:
    reader.stack.append(Foreign(f"extension {code}"))


def _nothing(_reader: _Reader, _argument: Any) -> None:
    """Do nothing: it says how the rest is written."""


#: What is on the stack afterwards is what stands in the pickle.
_LITERALS: Final = frozenset(
    opcode.name
    for opcode in pickletools.opcodes
    if opcode.arg is not None and not opcode.stack_before and len(opcode.stack_after) == 1
) - {"GET", "BINGET", "LONG_BINGET", "EXT1", "EXT2", "EXT4", "GLOBAL", "PERSID"}

_STEPS: Final[Mapping[str, Callable[[_Reader, Any], Any]]] = {
    "NONE": _push(lambda: None),
    "NEWTRUE": _push(lambda: True),
    "NEWFALSE": _push(lambda: False),
    "EMPTY_LIST": _push(list),
    "EMPTY_SET": _push(list),
    "EMPTY_TUPLE": _push(tuple),
    "EMPTY_DICT": _push(Pairs),
    "NEXT_BUFFER": _push(lambda: Foreign("buffer")),
    "MARK": _push(lambda: _MARK),
    "TUPLE1": _tuple(1),
    "TUPLE2": _tuple(2),
    "TUPLE3": _tuple(3),
    "TUPLE": _marked(tuple),
    "LIST": _marked(list),
    "FROZENSET": _marked(list),
    "DICT": _marked(_pairs),
    "POP": lambda reader, _: reader.stack.pop(),
    "POP_MARK": lambda reader, _: reader.marked(),
    "DUP": lambda reader, _: reader.stack.append(reader.stack[-1]),
    "APPEND": lambda reader, _: reader.append(reader.last(1)),
    "APPENDS": lambda reader, _: reader.append(reader.marked()),
    "ADDITEMS": lambda reader, _: reader.append(reader.marked()),
    "SETITEM": lambda reader, _: reader.set_items(reader.last(2)),
    "SETITEMS": lambda reader, _: reader.set_items(reader.marked()),
    "MEMOIZE": lambda reader, _: reader.put(len(reader.memory)),
    **dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT"), _Reader.put),
    **dict.fromkeys(("GET", "BINGET", "LONG_BINGET"), _Reader.get),
    "GLOBAL": _Reader.name,
    "STACK_GLOBAL": lambda reader, _: reader.stack_name(),
    "INST": _Reader.instance,
    "OBJ": lambda reader, _: reader.object(),
    "REDUCE": lambda reader, _: reader.reduce(),
    "NEWOBJ": lambda reader, _: reader.new(),
    "NEWOBJ_EX": lambda reader, _: reader.new_with_names(),
    "BUILD": lambda reader, _: reader.build(),
    "PERSID": _push(lambda: Foreign("persistent id")),
    "BINPERSID": lambda reader, _: reader.persistent(),
    **dict.fromkeys(("EXT1", "EXT2", "EXT4"), _extension),
    **dict.fromkeys(("PROTO", "FRAME", "READONLY_BUFFER"), _nothing),
}
