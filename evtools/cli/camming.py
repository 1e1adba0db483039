"""From evcam's command line to CamOptions."""

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

import click
from click.core import ParameterSource

from evtools.cam.choices import LOG_LEVELS
from evtools.cam.options import MAX_SPEED, CamOptions
from evtools.cam.rate import rate
from evtools.cli.connecting import connection_settings, merged_pairs
from evtools.cli.moment import LocalZone
from evtools.errors import UsageError
from evtools.transport import ConnectionSettings, check_transport
from evtools.transport.url import is_secret

#: Options handed on under their own name.
_SAME: Final = (
    *("freq", "cleanup_freq", "warm_up", "once", "test", "max_failures"),
    *("allow_insecure_camera", "pythonpath", "redact", "max_tasks", "max_memory"),
    *("demo", "detach", "umask", "ready_timeout", "shutdown_timeout", "log_format"),
    *("quiet",),
)
#: Options that are texts; None becomes "", and a number of the settings file a text.
_TEXTS: Final = (
    *("camera", "maxrate", "read", "executable", "pidfile", "uid", "gid"),
    *("workdir", "logfile", "listen"),
)
#: Errands that are about an evcam that runs; whatever it does.
_ABOUT_ANOTHER: Final = ("status", "stop")

_Values = Mapping[str, Any]


def cam_options(ctx: click.Context) -> CamOptions:
    """Return what the parsed command line of `ctx` asks for.

    Raise UsageError for options that make no sense together.
    """
    values = ctx.params
    if values["errand"] not in _ABOUT_ANOTHER:
        _refuse_contradictions(ctx)
    same: dict[str, Any] = {name: values[name] for name in _SAME}
    same |= {name: _text(values[name]) for name in _TEXTS}
    return CamOptions(
        **same,
        camera_options=merged_pairs(ctx, "camera_option"),
        filters=values["filter"],
        zone=LocalZone(),
        speed=MAX_SPEED if values["speed"] is None else float(values["speed"]),
        loglevel=level_of(values),
    )


def cam_settings(ctx: click.Context) -> ConnectionSettings:
    """Return the connection settings that the parsed command line asks for.

    Raise UsageError or ImproperlyConfigured.
    """
    values = ctx.params
    settings = connection_settings(ctx)
    if values["queue"]:
        settings = replace(settings, event_queue=values["queue"])
    needs_broker = not (values["read"] or values["demo"] or values["show_config"])
    if needs_broker and values["errand"] not in _ABOUT_ANOTHER:
        check_transport(settings)
    return settings


def level_of(values: _Values) -> int:
    """Return the level of logging that the options ask for, as logging has it."""
    if values["loglevel"]:
        return LOG_LEVELS[values["loglevel"].upper()]
    if values["debug"] or values["verbose"]:
        return logging.DEBUG
    return logging.WARNING if values["quiet"] else logging.INFO


def secrets(values: _Values) -> Iterator[str]:
    """Yield what the camera was given that nobody else should see.

    Those are URLs with their passwords, and passwords.
    """
    texts = [values["camera"] or ""]
    for name, value in values["camera_option"]:
        if is_secret(name):
            yield str(value)
        texts.append(str(value))
    for text in texts:
        credentials, at, _ = text.partition("://")[2].rpartition("@")
        if at:
            yield credentials.partition(":")[2]


def _text(value: Any) -> str:
    return "" if value is None else str(value)


def _refuse_contradictions(ctx: click.Context) -> None:
    values = ctx.params
    for is_wrong, message, hint in _CONTRADICTIONS:
        if is_wrong(values):
            raise UsageError(message, hint)
    source = ctx.get_parameter_source("speed")
    if source is ParameterSource.COMMANDLINE and not values["read"]:
        raise UsageError("--speed means nothing without --read", "give both or none")
    if values["maxrate"]:
        rate(values["maxrate"])


#: When it is wrong, what to say, and what to do.
_CONTRADICTIONS: Final[tuple[tuple[Callable[[_Values], bool], str, str], ...]] = (
    (
        lambda v: not v["camera"],
        "there is no camera",
        "name one with -c: mod.Camera, sqlite:FILE, jsonl:FILE, prometheus, postgres",
    ),
    (
        lambda v: bool(v["read"] and v["demo"]),
        "--read and --demo exclude each other",
        "a recording is no simulation",
    ),
    (
        lambda v: bool(v["detach"] and (v["once"] or v["test"])),
        "--detach excludes --once and --test",
        "leave --detach out",
    ),
    (
        lambda v: bool(v["detach"] and v["read"] == "-"),
        "--detach and --read - exclude each other",
        "a process in the background has no stdin",
    ),
    (
        lambda v: bool(v["detach"] and (v["logfile"] or "").startswith("/dev/std")),
        "--detach needs a log file that lasts",
        "a process in the background has no stdout and no stderr",
    ),
    (
        lambda v: bool(v["read"] and v["queue"]),
        "--read and --queue exclude each other",
        "a recording comes through no queue",
    ),
)
