import pytest

from evtools.cli.options import Option
from evtools.cli.tools import command

TOOLS = {name: command(name) for name in ("top", "dump", "cam", "doctor")}
OPTIONS = [
    (tool, option)
    for tool, made in TOOLS.items()
    for option in made.params
    if isinstance(option, Option) and (tool == "dump" or not option.shared)
]
each_option = pytest.mark.parametrize(
    ("tool", "option"), OPTIONS, ids=[f"{tool}-{option.name}" for tool, option in OPTIONS]
)


def variables(option):
    return [option.envvar] if isinstance(option.envvar, str) else list(option.envvar)


@each_option
def test_every_option_has_a_variable_named_after_it(tool, option):
    if option.name in {"json_output", "ts_count", "version_line"} or tool == "doctor":
        assert variables(option) == []
    elif option.name == "broker":
        assert variables(option)[0] == "EVTOOLS_BROKER_URL"
    else:
        prefix = "EVTOOLS" if option.shared else f"EV{tool.upper()}"
        long = next(name for name in option.opts if name.startswith("--")).removeprefix("--")
        assert variables(option) == [f"{prefix}_{long.replace('-', '_').upper()}"]


@pytest.mark.parametrize("tool", TOOLS)
def test_no_two_options_share_a_flag(tool):
    flags = [flag for each in TOOLS[tool].params for flag in each.opts + each.secondary_opts]
    assert len(flags) == len(set(flags))


def test_no_option_reads_a_variable_that_others_define():
    taken = {name for _, option in OPTIONS for name in variables(option)}
    assert not taken & {"NO_COLOR", "FORCE_COLOR", "CLICOLOR_FORCE", "EVTOOLS_NO_COLOR"}
