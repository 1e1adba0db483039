"""Families of metrics as text that Prometheus reads."""

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from typing import Final, Literal, NamedTuple, TypeAlias

from evtools.text import clip, sanitize

Kind: TypeAlias = Literal["counter", "gauge", "histogram"]
#: Names and values of labels.
Labels: TypeAlias = tuple[tuple[str, str], ...]

#: As long as the value of a label may be, in columns of a terminal.
LABEL_MAX_COLS: Final = 200
#: No character takes so many, so this much is enough to cut from.
_RAW_MAX: Final = 2 * LABEL_MAX_COLS


class Sample(NamedTuple):
    """One figure: what follows the name of its family, its labels, its value."""

    suffix: str
    labels: Labels
    value: float


@dataclass(frozen=True, slots=True)
class Family:
    """Samples under one name; that of a counter is without its `_total`.

    `help` is one line without quotes and backslashes.
    """

    name: str
    kind: Kind
    help: str
    samples: Sequence[Sample]


class Format(Enum):
    """What the text can be written in; the value is its content type."""

    TEXT = "text/plain; version=0.0.4; charset=utf-8"
    OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"

    @classmethod
    def accepted(cls, accept: str) -> "Format":
        """Return what an Accept header asks for; plain text, if it does not say."""
        for entry in accept.split(","):
            kind, *parameters = (part.strip() for part in entry.split(";"))
            refused = any(_REFUSED.fullmatch(parameter) for parameter in parameters)
            if kind.lower() == "application/openmetrics-text" and not refused:
                return cls.OPENMETRICS
        return cls.TEXT


_REFUSED: Final = re.compile(r"q\s*=\s*0(\.0*)?", re.IGNORECASE)


def render(families: Iterable[Family], form: Format = Format.TEXT) -> bytes:
    """Return the text of `families`; a name must not come twice."""
    lines: list[str] = []
    for family in families:
        lines += _lines(family, form)
    if form is Format.OPENMETRICS:
        lines.append("# EOF\n")
    return "".join(lines).encode()


def _lines(family: Family, form: Format) -> Iterator[str]:
    name = family.name
    # The older format calls the family what its samples are called.
    if family.kind == "counter" and form is Format.TEXT:
        name += "_total"
    yield f"# HELP {name} {family.help}\n"
    yield f"# TYPE {name} {family.kind}\n"
    for suffix, labels, value in family.samples:
        yield f"{family.name}{suffix}{_braced(labels)} {number(value)}\n"


def _braced(labels: Labels) -> str:
    if not labels:
        return ""
    pairs = (f'{name}="{value.translate(_ESCAPED)}"' for name, value in labels)
    return f"{{{','.join(pairs)}}}"


_ESCAPED: Final = str.maketrans({"\\": r"\\", "\n": r"\n", '"': r"\""})


def number(value: float) -> str:
    """Return a figure as both formats have it."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return repr(value)


def label(text: str | None, unknown: str) -> str:
    """Return text from the wire as the value of a label; `unknown` for none.

    Printable, so that it may be looked at in a terminal, and of bounded length.
    Two texts that look alike are one value, or Prometheus would refuse them.
    """
    if not text:
        return unknown
    return _label(text if len(text) <= _RAW_MAX else text[:_RAW_MAX])


@lru_cache(maxsize=4096)
def _label(text: str) -> str:
    return clip(sanitize(text), LABEL_MAX_COLS)
