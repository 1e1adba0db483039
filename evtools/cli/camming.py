"""From evcam's command line to CamOptions."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import click

from evtools.cam.choices import LOG_LEVELS
from evtools.cam.options import MAX_SPEED, CamOptions
from evtools.cam.rate import rate
from evtools.cli.connecting import connection_settings, merged_pairs
from evtools.cli.contradictions import (
    BACKWARDS,
    RECORDED_DEMO,
    Contradiction,
    Values,
    both,
    refuse,
    refuse_lone,
)
from evtools.cli.moment import LocalZone
from evtools.transport import ConnectionSettings, check_transport
from evtools.transport.url import is_secret

#: Options handed on under their own name.
_SAME: Final = (
    *("freq", "cleanup_freq", "warm_up", "once", "test", "max_failures"),
    *("allow_insecure_camera", "pythonpath", "redact", "max_tasks", "max_memory"),
    *("demo", "detach", "umask", "ready_timeout", "shutdown_timeout", "log_format"),
    *("quiet", "read", "since", "until"),
)
#: Options that are texts; None becomes "", and a number of the settings file a text.
_TEXTS: Final = (
    *("camera", "maxrate", "executable", "pidfile", "uid", "gid"),
    *("workdir", "logfile", "listen"),
)
#: Errands that are about an evcam that runs; whatever it does.
_ABOUT_ANOTHER: Final = ("status", "stop")


def cam_options(ctx: click.Context) -> CamOptions:
    """Return what the parsed command line of `ctx` asks for.

    Raise UsageError for options that make no sense together.
    """
    values = ctx.params
    if values["errand"] not in _ABOUT_ANOTHER:
        refuse(values, _CONTRADICTIONS)
        refuse_lone(ctx, _NEEDS)
        if values["maxrate"]:
            rate(values["maxrate"])
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


def level_of(values: Values) -> int:
    """Return the level of logging that the options ask for, as logging has it."""
    if values["loglevel"]:
        return LOG_LEVELS[values["loglevel"].upper()]
    if values["debug"] or values["verbose"]:
        return logging.DEBUG
    return logging.WARNING if values["quiet"] else logging.INFO


def secrets(values: Values) -> Iterator[str]:
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


#: Options that mean something only with another one.
_NEEDS: Final[Mapping[str, Sequence[str]]] = {"read": ("speed", "since", "until")}

_CONTRADICTIONS: Final = (
    Contradiction(
        lambda v: not v["camera"],
        "there is no camera",
        "name one with -c: mod.Camera, sqlite:FILE, jsonl:FILE, prometheus, postgres",
    ),
    RECORDED_DEMO,
    BACKWARDS,
    Contradiction(
        lambda v: bool(v["detach"] and (v["once"] or v["test"])),
        "--detach excludes --once and --test",
        "leave --detach out",
    ),
    Contradiction(
        lambda v: bool(v["detach"] and "-" in v["read"]),
        "--detach and --read - exclude each other",
        "a process in the background has no stdin",
    ),
    Contradiction(
        lambda v: bool(v["detach"] and (v["logfile"] or "").startswith("/dev/std")),
        "--detach needs a log file that lasts",
        "a process in the background has no stdout and no stderr",
    ),
    both("read", "queue", "a recording comes through no queue"),
)
