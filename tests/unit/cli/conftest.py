"""Run the tools in this process, in a clean place."""

from __future__ import annotations

import contextlib
import io
import logging
import re
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from evtools.cli.main import main, start


class Ended(NamedTuple):
    """How a command ended and what it said."""

    status: int
    out: str
    err: str


@pytest.fixture(autouse=True)
def quiet_place(tmp_path, monkeypatch):
    """Stand in an empty directory and put logging back as it was."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_DIRS", str(tmp_path / "system"))
    monkeypatch.setenv("COLUMNS", "80")
    # For tests that start Python, where the package is not installed.
    monkeypatch.setenv("PYTHONPATH", str(_ROOT))
    monkeypatch.setattr(sys, "argv", ["evdump"])
    loggers = [logging.getLogger(name) for name in ("", *_LIBRARIES)]
    before = [(logger, logger.level, list(logger.handlers)) for logger in loggers]
    yield
    for logger, level, handlers in before:
        for handler in set(logger.handlers) - set(handlers):
            with contextlib.suppress(OSError):  # a full disk, for one
                handler.close()
        logger.setLevel(level)
        logger.handlers[:] = handlers


_ROOT = Path(__file__).parents[3]
_LIBRARIES = ("amqp", "celery", "kombu", "redis", "vine", "asyncio")


def _runner(tool):
    """Return a fixture that runs a tool with arguments and environment variables."""

    @pytest.fixture
    def fixture(capfd, monkeypatch):
        def run(*arguments, **environ):
            with monkeypatch.context() as patch:
                patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO()))
                for name, value in environ.items():
                    patch.setenv(name, value)
                status = start(tool, arguments)
            return Ended(status, *capfd.readouterr())

        return run

    return fixture


def _shower(runner):
    """Return a fixture for --show-config as a mapping of name to value and origin."""

    @pytest.fixture
    def fixture(request):
        run = request.getfixturevalue(runner)

        def show(*arguments, **environ):
            ended = run(*arguments, "--show-config", **environ)
            assert ended.status == 0, ended.err
            rows = re.findall(r"^(\w+) += (.*?) *  # (.*)$", ended.out, re.MULTILINE)
            return {name: (value, origin) for name, value, origin in rows}

        return show

    return fixture


cli, top, cam = _runner("dump"), _runner("top"), _runner("cam")
shown, top_shown, cam_shown = _shower("cli"), _shower("top"), _shower("cam")


@pytest.fixture
def evtools(capfd):
    """Run a program by its whole command line, the name first."""

    def run(*words):
        return Ended(main(words), *capfd.readouterr())

    return run


@pytest.fixture
def config(tmp_path):
    """Write the settings file where it is looked for; return its path."""

    def write(text, mode=0o600):
        path = tmp_path / ".config" / "evtools" / "evtools.toml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(mode)
        return path

    return write
