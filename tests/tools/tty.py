"""A stream that says it is a terminal."""

import io


class Terminal(io.StringIO):
    """What is written to a terminal, as text."""

    def isatty(self) -> bool:
        """Say yes."""
        return True
