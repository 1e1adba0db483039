import click
import pytest

from evtools.cli import recurring
from evtools.cli.entry import command
from evtools.cli.options import Option


def found(name, tool):
    """Return the option `name` of a tool."""
    (option,) = [each for each in command(tool).params if each.name == name]
    return option


@pytest.mark.parametrize(
    ("name", "tools"),
    [
        ("demo", ["cam", "dump", "top"]),
        ("json_output", ["doctor", "dump", "top"]),
        ("max_tasks", ["cam", "top"]),
        ("max_memory", ["cam", "top"]),
        ("since", ["dump", "top"]),
        ("until", ["dump", "top"]),
    ],
)
def test_tools_that_have_it_have_it_alike(name, tools):
    options = [found(name, tool) for tool in tools]
    assert len({(*each.opts, each.default, str(each.type)) for each in options}) == 1
    for option, tool in zip(options, tools, strict=True):
        assert option.group in command(tool).groups


def test_each_tool_has_a_variable_of_its_own_for_it():
    assert found("max_tasks", "cam").envvar == "EVCAM_MAX_TASKS"
    assert found("max_tasks", "top").envvar == "EVTOP_MAX_TASKS"


def test_a_tool_may_say_otherwise_where_and_what_it_is():
    @click.command()
    @recurring.demo(prefix="EVX", group="Common", help="Play.")
    def played(**_values):
        pass

    (option,) = played.params
    assert isinstance(option, Option)
    assert (option.group, option.help, option.envvar) == ("Common", "Play.", "EVX_DEMO")
