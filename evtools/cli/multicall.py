"""For entry points of an installation that is older than the sources."""

from evtools.cli.main import main

__all__ = ["main"]
