"""Text for the cell of a spreadsheet."""

from typing import Final

from evtools.text.sanitize import sanitize

#: What makes a spreadsheet take a text for a formula, wide forms included.
_FORMULA: Final = (*"=+-@", *"\uff1d\uff0b\uff0d\uff20")


def csv_cell(text: str, *, is_number: bool = False) -> str:
    """Return a text as a cell of CSV (RFC 4180), without control characters.

    Before what a spreadsheet would run as a formula stands an apostrophe, unless it
    `is_number`.
    """
    text = sanitize(text)
    if not is_number and text.startswith(_FORMULA):
        text = "'" + text
    if "," in text or '"' in text or text != text.strip():
        return '"' + text.replace('"', '""') + '"'
    return text
