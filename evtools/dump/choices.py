"""The names of output formats and of time styles."""

from typing import Final, Literal, TypeAlias

Output: TypeAlias = Literal["text", "json", "pretty", "logfmt", "csv", "raw", "template"]
Timestamps: TypeAlias = Literal["local", "utc", "iso", "epoch", "delta", "start", "none"]

OUTPUTS: Final[tuple[Output, ...]] = (
    *("text", "json", "pretty", "logfmt", "csv", "raw", "template"),
)
TIMESTAMPS: Final[tuple[Timestamps, ...]] = (
    *("local", "utc", "iso", "epoch", "delta", "start", "none"),
)
