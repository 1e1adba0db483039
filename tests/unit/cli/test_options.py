import click
import pytest

from evtools.cli.dump_command import evdump
from evtools.cli.options import Option, shared_options

OPTIONS = [option for option in evdump.params if isinstance(option, Option)]


def variables(option):
    return [option.envvar] if isinstance(option.envvar, str) else list(option.envvar)


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.name)
def test_every_option_has_a_variable_named_after_it(option):
    if option.name in {"json_output", "ts_count", "version_line"}:
        assert variables(option) == []
        return
    if option.name == "broker":
        assert variables(option)[0] == "EVTOOLS_BROKER_URL"
        return
    prefix = "EVTOOLS" if option.shared else "EVDUMP"
    long = max(option.opts, key=len).removeprefix("--")
    assert variables(option) == [f"{prefix}_{long.replace('-', '_').upper()}"]


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.name)
def test_every_option_has_help_and_a_known_group(option):
    assert option.help
    assert option.group in evdump.groups


def test_no_two_options_share_a_flag():
    flags = [flag for option in OPTIONS for flag in option.opts + option.secondary_opts]
    assert len(flags) == len(set(flags))


def test_no_option_reads_a_variable_that_others_define():
    taken = {name for option in OPTIONS for name in variables(option)}
    assert not taken & {"NO_COLOR", "FORCE_COLOR", "CLICOLOR_FORCE", "EVTOOLS_NO_COLOR"}


def test_every_tool_gets_the_same_shared_options():
    @click.command()
    @shared_options
    def other(**_values):
        pass

    shared = [option.name for option in OPTIONS if option.shared]
    assert [option.name for option in other.params] == shared
