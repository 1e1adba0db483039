"""Where to listen, as people write it."""

import re
from dataclasses import dataclass
from typing import Final, Self

from evtools.errors import UsageError
from evtools.text import sanitize

_LOOPBACK: Final = "127.0.0.1"
_PORT_MAX: Final = 65535

_WRITTEN: Final = re.compile(
    r"(?:(?:\[(?P<six>[^\]]+)\]|(?P<host>[^:\[\]]*)):)?(?P<port>\d{1,5})", re.ASCII
)


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen; port 0 is any that is free."""

    host: str
    port: int

    @classmethod
    def of(cls, text: str) -> Self:
        """Read `HOST:PORT`, `[::1]:PORT`, or a port alone, which is on loopback.

        Raise UsageError for anything else.
        """
        found = _WRITTEN.fullmatch(text.strip())
        if found is None or int(found["port"]) > _PORT_MAX:
            raise UsageError(
                f'cannot listen on "{sanitize(text)}"',
                "write it as in 127.0.0.1:9808, [::1]:9808 or 9808",
            )
        return cls(found["six"] or found["host"] or _LOOPBACK, int(found["port"]))

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"
