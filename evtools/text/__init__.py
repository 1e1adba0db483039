"""Strings a terminal can trust: made printable, made to fit, made readable."""

from evtools.text.credentials import hide_credentials
from evtools.text.decoding import decode_text, encoding_of
from evtools.text.fit import clip, elide_middle, pad, width
from evtools.text.human import (
    human_age,
    human_count,
    human_duration,
    human_rate,
    human_size,
    parse_duration,
    parse_size,
)
from evtools.text.regexes import BoundedPattern
from evtools.text.sanitize import sanitize, sanitize_lines
from evtools.text.spreadsheet import csv_cell

__all__ = [
    "BoundedPattern",
    "clip",
    "csv_cell",
    "decode_text",
    "elide_middle",
    "encoding_of",
    "hide_credentials",
    "human_age",
    "human_count",
    "human_duration",
    "human_rate",
    "human_size",
    "pad",
    "parse_duration",
    "parse_size",
    "sanitize",
    "sanitize_lines",
    "width",
]
