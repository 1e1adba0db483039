"""What the README and the manual pages show, block by block."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

import check_docs
from tools.command import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

README = (ROOT / "README.md").read_text(encoding="utf-8")
#: Manual pages that say of each example what it is written in.
PAGES = ("evtools-install.7", "evtools-cookbook.7", "evtools-library.3")


class Block(NamedTuple):
    """A block, with where it stands, and the file that it is said to be in, if any."""

    document: str
    heading: str
    language: str
    file: str
    text: str


def blocks() -> Iterator[Block]:
    """Yield the blocks of the documents in their order."""
    pattern = r"^#+ ([^\n]*)$|^```(\w+)\n(.*?)^```$"
    heading = ""
    for found in re.finditer(pattern, README, re.DOTALL | re.MULTILINE):
        title, language, text = found.groups()
        if language:
            yield Block("README.md", heading, language, "", text)
        else:
            heading = title
    for name in PAGES:
        for example in check_docs.examples(page(name)):
            yield Block(name, *example)


def page(name: str) -> str:
    """Return the source of a manual page."""
    return (ROOT / "man" / name).read_text(encoding="utf-8")


def texts(heading: str, language: str = "sh") -> list[str]:
    """Return the blocks under a heading, which must be there."""
    found = [
        block.text for block in blocks() if (block.heading, block.language) == (heading, language)
    ]
    assert found, f"no document has {language} under {heading!r}"
    return found
