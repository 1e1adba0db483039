"""Strings that a terminal can trust: printable, of a known width, readable by people."""

from evtools.text.credentials import hide_credentials
from evtools.text.human import (
    human_age,
    human_count,
    human_duration,
    human_rate,
    human_size,
    parse_duration,
    parse_size,
    scale_end,
)
from evtools.text.regexes import BoundedPattern
from evtools.text.sanitize import (
    clip,
    csv_cell,
    decode_text,
    elide_middle,
    encoding_of,
    pad,
    sanitize,
    sanitize_lines,
    width,
)

# fmt: off
__all__ = [
    "BoundedPattern", "clip", "csv_cell", "decode_text", "elide_middle", "encoding_of",
    "hide_credentials", "human_age", "human_count", "human_duration", "human_rate", "human_size",
    "pad", "parse_duration", "parse_size", "sanitize", "sanitize_lines", "scale_end", "width",
]
