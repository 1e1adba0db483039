"""YAML, read as a description of values: no object is made of it."""

from typing import Any, Final

import yaml

from evtools.errors import DecodeError
from evtools.wire.values import DEPTH_MAX, DIGITS_MAX, Lost, Pairs, unknown

_STANDARD: Final = "tag:yaml.org,2002:"
#: Senders do not mean what these mean in YAML.
_TEXTS: Final = frozenset({f"{_STANDARD}merge", f"{_STANDARD}value"})
_LISTS: Final = frozenset({"seq", "omap", "pairs", "python/list", "python/tuple"})
#: Tags of ours for what is left out.
_DEEP: Final = "evtools:deep"
_UNDEFINED: Final = "evtools:undefined"
#: PyYAML's scanner gets slower with each level.
_SKIPPED_MAX: Final = 200


class _Loader(yaml.SafeLoader):
    """Composes nodes; leaves out what is nested too deep, however deep it is."""

    depth = 0
    skipped = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            alias: Any = super().peek_event()  # type: ignore[no-untyped-call]
            if alias.anchor not in self.anchors:
                super().get_event()  # type: ignore[no-untyped-call]
                return yaml.ScalarNode(_UNDEFINED, "")
            return super().compose_node(parent, index)
        if self.depth > DEPTH_MAX:
            return self._skip()
        self.depth += 1
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def _skip(self) -> Any:
        level, first = 0, True
        while level or first:
            event = super().get_event()  # type: ignore[no-untyped-call]
            first = False
            level += isinstance(event, yaml.CollectionStartEvent)
            level -= isinstance(event, yaml.CollectionEndEvent)
            self.skipped += 1
            if self.skipped > _SKIPPED_MAX:
                raise DecodeError("nested too deep")
        return yaml.ScalarNode(_DEEP, "")


def read_yaml(body: bytes) -> Any:
    """Return what the one document in `body` describes.

    What is named in several places is one value. Raise DecodeError for what is no YAML.
    """
    try:
        loader = _Loader(body)
        node = loader.get_single_node()
    except DecodeError:
        raise
    except Exception as error:  # noqa: BLE001  (PyYAML raises anything on odd input)
        raise DecodeError("no YAML", str(error).replace("\n", " ")) from None
    return None if node is None else _Values(loader).value(node)


class _Values:
    """Makes a value of each node, once."""

    def __init__(self, loader: _Loader) -> None:
        self._loader = loader
        self._made: dict[int, Any] = {}

    def value(self, node: Any) -> Any:
        if id(node) not in self._made:
            if isinstance(node, yaml.ScalarNode):
                self._made[id(node)] = self._scalar(node)
            else:
                self._container(node)
        return self._made[id(node)]

    def _container(self, node: Any) -> None:
        tag = node.tag.removeprefix(_STANDARD)
        # Known before it is filled: it may contain itself.
        if isinstance(node, yaml.MappingNode):
            pairs = self._made[id(node)] = Pairs()
            pairs.extend((self.value(key), self.value(item)) for key, item in node.value)
            if tag == "set":
                self._made[id(node)] = [key for key, _ in pairs]
            elif tag not in ("map", "python/dict"):
                self._made[id(node)] = unknown(tag)
        else:
            items = self._made[id(node)] = []
            items.extend(self.value(item) for item in node.value)
            if tag not in _LISTS:
                self._made[id(node)] = unknown(tag)

    def _scalar(self, node: Any) -> Any:
        if node.tag == _DEEP:
            return Lost("<nested too deep>", "nested too deep")
        if node.tag == _UNDEFINED:
            return Lost("<alias of nothing>", "alias of nothing")
        if node.tag in _TEXTS:
            return node.value
        make = self._loader.yaml_constructors.get(node.tag)
        if make is None:
            return unknown(node.tag.removeprefix(_STANDARD))
        if len(node.value) > DIGITS_MAX and node.tag != f"{_STANDARD}binary":
            return node.value
        try:
            return make(self._loader, node)
        except Exception:  # noqa: BLE001  (PyYAML raises anything on odd scalars)
            return node.value
