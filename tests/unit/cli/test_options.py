import pytest

from evtools.cli.options import Option
from evtools.cli.tools import command

TOOLS = {name: command(name) for name in ("top", "dump", "cam", "doctor")}


def variables(option):
    return [option.envvar] if isinstance(option.envvar, str) else list(option.envvar)


@pytest.mark.parametrize("tool", TOOLS)
def test_every_option_has_a_variable_named_after_it_and_flags_of_its_own(tool):
    taken = {"NO_COLOR", "FORCE_COLOR", "CLICOLOR_FORCE", "EVTOOLS_NO_COLOR"}
    flags = [flag for each in TOOLS[tool].params for flag in each.opts + each.secondary_opts]
    assert len(flags) == len(set(flags))
    for option in TOOLS[tool].params:
        if not isinstance(option, Option):
            continue
        assert not taken & set(variables(option))
        no_variable = tool == "doctor" and not option.shared
        if option.name in {"json_output", "ts_count", "version_line"} or no_variable:
            assert variables(option) == []
        elif option.name == "broker":
            assert variables(option)[0] == "EVTOOLS_BROKER_URL"
        else:
            prefix = "EVTOOLS" if option.shared else f"EV{tool.upper()}"
            long = next(name for name in option.opts if name.startswith("--")).removeprefix("--")
            assert variables(option) == [f"{prefix}_{long.replace('-', '_').upper()}"]
