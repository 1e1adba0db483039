"""What the README shows, block by block."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from tools.command import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

README = (ROOT / "README.md").read_text(encoding="utf-8")


class Block(NamedTuple):
    """A fenced block, with the heading it stands under and that of its chapter."""

    chapter: str
    heading: str
    language: str
    text: str


def blocks() -> Iterator[Block]:
    """Yield the fenced blocks of the README in their order."""
    pattern = r"^(#+) ([^\n]*)$|^```(\w+)\n(.*?)^```$"
    chapter = heading = ""
    for found in re.finditer(pattern, README, re.DOTALL | re.MULTILINE):
        level, title, language, text = found.groups()
        if language:
            yield Block(chapter, heading, language, text)
        else:
            heading = title
            chapter = title if level == "##" else chapter


def texts(heading: str, language: str = "sh") -> list[str]:
    """Return the blocks under a heading, which must be there."""
    found = [
        block.text for block in blocks() if (block.heading, block.language) == (heading, language)
    ]
    assert found, f"README.md has no {language} under {heading!r}"
    return found
