"""A settings file to begin with: every setting in a comment."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from textwrap import TextWrapper
from typing import Any, Final

import click

from evtools.cli import params
from evtools.cli.entry import command
from evtools.cli.options import GROUPS, Option
from evtools.cli.show import toml, toml_key

_HEAD: Final = """\
# Settings of evtop, evdump, evcam and evtools doctor; evtools.toml(5) tells more.
#
# Take the # away in front of a setting to set it.  Its value here is the default,
# or an example where there is none.  What is in force: evtools config\
"""
_KEYS: Final = """\

# Keys of evtop: what they do, and the key or keys for it; [] takes them away.
[keys]
"""
_TAIL: Final = """\

# A profile, chosen with --profile NAME, beats what stands above.  It may have tables
# of its own, such as [profile.NAME.evdump].
#
# [profile.NAME]
# broker = "redis://localhost:6379/0"

# Celery's names for settings are understood, too: here, or at the top.
#
# [celery]
# broker_url = "redis://localhost:6379/0"
"""
_wrap: Final = TextWrapper(width=82, break_on_hyphens=False).wrap
_MEGABYTE: Final = 1024 * 1024

#: How values of these types are best written.
_WRITTEN: Final[Mapping[click.ParamType[Any], Callable[[Any], Any]]] = {
    **dict.fromkeys(
        (*(params.DURATION, params.POSITIVE_DURATION, params.DURATION_OR_NONE), params.FREQUENCY),
        "{:g}s".format,
    ),
    params.SIZE: lambda value: f"{value // _MEGABYTE}M",
}
#: What to show where there is no default, by type and by what the help calls it.
_EXAMPLES: Final[Mapping[click.ParamType[Any] | str, Any]] = {
    params.BROKER: "amqp://guest@localhost//",
    params.COUNT: 100,
    params.DURATION: "10s",
    params.FANOUT_PREFIX: "/{db}.",
    params.FILTER: "state:FAILURE",
    params.POSITIVE_DURATION: "10s",
    params.GROUP: "celery",
    params.RATE: "10/m",
    params.REGEX: "Error",
    params.SIZE: "100M",
    params.SPEED: "1x",
    params.UMASK: "027",
    params.USER: "celery",
    params.WHOLE: 1,
    "FILE": "/path/to/file",
    "DIR": "/path/to/folder",
    "HOST:PORT": "127.0.0.1:9808",
}


def settings_file() -> str:
    """Return a settings file in which everything can be set and nothing is."""
    tools = [command(name) for name in ("top", "dump", "cam")]
    lines = [_HEAD]
    shared = [option for option in _options(tools[0]) if option.shared]
    for group in GROUPS:
        lines += _settings(option for option in shared if option.group == group)
    for tool in tools:
        lines += ["", f"[{tool.name}]"]
        lines += _settings(option for option in _options(tool) if not option.shared)
    return "\n".join((*lines, _KEYS, *_keys(), _TAIL))


def _options(tool: click.Command) -> Iterator[Option]:
    for option in tool.params:
        if isinstance(option, Option) and option.in_file:
            yield option


def _settings(options: Iterable[Option]) -> Iterator[str]:
    for option in options:
        help_text = " ".join((option.help or "").split())
        yield ""
        yield from (f"# {line}" for line in _wrap(help_text))
        yield f"#{option.name} = {toml(value_of(option))}"


def value_of(option: Option) -> Any:
    """Return the default of an option, or an example; as it is written in TOML."""
    if option.type in params.PAIRS:
        return {}
    if option.multiple:
        return []
    default = option.get_default(click.Context(click.Command("evtools")))
    # click stands something of its own where there is none.
    if isinstance(default, bool | int | float | str):
        return _WRITTEN.get(option.type, lambda value: value)(default)
    if option.is_flag:
        return True
    called = option.metavar or ""
    example = _EXAMPLES.get(option.type, _EXAMPLES.get(called, called))
    return next(iter(getattr(option.type, "choices", ())), example)


def _keys() -> Iterator[str]:
    from evtools.top.bindings import BINDINGS  # noqa: PLC0415  (rarely needed)

    for binding in BINDINGS:
        yield f"# {binding.help}"
        yield f"#{toml_key(binding.command)} = {toml(binding.keys)}"
