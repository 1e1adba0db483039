"""Pairs of keyword arguments, found in the text that Celery sends of them."""

import re
from collections.abc import Iterator
from typing import Final

from evtools.filters.texts import TextTest, equals, glob, is_glob
from evtools.filters.tokens import Value

# Keyword arguments travel as the repr of a dict, cut at 1024 characters by the
# sender, and with reprs of anything in it: ast.literal_eval fails on half of
# them and can be made to eat all memory.  A scanner that only knows quotes and
# brackets finds the outermost pairs of all, JSON included, in linear time.

#: How much of the text is looked at.
MAX_CHARS: Final = 65536

_PAIR = re.compile(r"\s*([\w.-]+)\s*=(.*)", re.DOTALL)
_TOKEN = re.compile(r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"|[^'\"\[\](){},:]+|.", re.DOTALL)
_ESCAPE = re.compile(r"\\([\\'\"])")


def pair_test(value: Value) -> TextTest | None:
    """Test for keyword arguments with the pair `key=value`, in any case.

    The value may have wildcards.  None if `value` is no pair.
    """
    match = _PAIR.fullmatch(value.text)
    if not match:
        return None
    key, wanted = match[1].casefold(), match[2].strip().casefold()
    is_wanted = equals([wanted])
    if is_glob(value):
        is_wanted = glob(wanted)

    def test(kwargs: str) -> bool:
        kwargs = kwargs[:MAX_CHARS].casefold()
        return key in kwargs and any(
            name == key and (is_wanted(_bare(found)) or is_wanted(found))
            for name, found in pairs(kwargs)
        )

    return test


def pairs(text: str) -> Iterator[tuple[str, str]]:
    """Yield keys without their quotes, and values, of the repr of a dict.

    A last pair that was cut off is left out: its value is not known.
    """
    depth = start = 0
    key: str | None = None
    for match in _TOKEN.finditer(text):
        piece = match[0]
        if piece in "'\"":
            return
        ends = depth == 1 and piece in ",)]}"
        if piece in "{[(":
            depth += 1
            start = match.end() if depth == 1 else start
        elif piece in ")]}":
            depth -= 1
        elif depth == 1 and piece == ":" and key is None:
            key, start = _bare(text[start : match.start()].strip()), match.end()
        if ends:
            if key is not None:
                yield key, text[start : match.start()].strip()
            key, start = None, match.end()


def _bare(text: str) -> str:
    """Return `text` without its quotes."""
    if len(text) > 1 and text[0] in "'\"" and text[-1] == text[0]:
        return _ESCAPE.sub(r"\1", text[1:-1])
    return text
