"""The settings file, read again while a tool runs."""

import os
from collections.abc import Mapping
from typing import Any

import click
from click.core import ParameterSource

from evtools.cli import config
from evtools.cli.camming import level_of
from evtools.cli.command import sources_of
from evtools.errors import ConfigError

_IN_FILE = (ParameterSource.DEFAULT_MAP, ParameterSource.DEFAULT)


class Rereading:
    """Tell what has changed in the settings file that `ctx` was made with.

    What is set on the command line or in the environment stays in force, and
    is not told.
    """

    def __init__(self, ctx: click.Context) -> None:
        self._ctx = ctx
        sources = sources_of(ctx)
        # By its whole name: a daemon may have another directory by now.
        self._path = str(sources.config.absolute()) if sources.config else ""
        self._values = {name: each.value for name, each in sources.settings.items()}

    def __call__(self) -> Mapping[str, Any]:
        """Return the options that are others by now, with their values.

        `loglevel` is a level of the logging module; the others are as they
        stand in the file, None for what is no more in it.  Raise ConfigError
        for a file that cannot be read or is wrong.
        """
        if not self._path:
            return {}
        before, after = self._values, self._read()
        changed = {
            name: after.get(name)
            for name in before.keys() | after.keys()
            if before.get(name) != after.get(name)
            and self._ctx.get_parameter_source(name) in _IN_FILE
        }
        if "loglevel" in changed:
            changed["loglevel"] = self._level(changed["loglevel"])
        self._values = after
        return changed

    def _read(self) -> dict[str, Any]:
        ctx = self._ctx
        loaded = config.load(
            self._path,
            ctx.params["profile"],
            tool=ctx.command.name or "",
            options=ctx.command.params,
            environ=os.environ,
        )
        return {name: each.value for name, each in loaded.settings.items()}

    def _level(self, word: str | None) -> int:
        try:
            return level_of({**self._ctx.params, "loglevel": word})
        except KeyError:
            raise ConfigError(f"{self._path}: loglevel: {word} is no level") from None
