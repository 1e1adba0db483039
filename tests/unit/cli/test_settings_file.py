import re
import tomllib

import pytest

from evtools.cli.cam_command import evcam
from evtools.cli.dump_command import evdump
from evtools.cli.options import Option
from evtools.cli.params import FILTER_FILE, TEXT_FILE
from evtools.cli.settings_file import settings_file, value_of
from evtools.cli.top_command import evtop
from evtools.top.keymap import BINDINGS, Keymap

# A setting in a comment has no blank after the #.
_SETTING = re.compile(r'^#(?=([\w-]+|"[^"]+") = )', re.MULTILINE)

TOOLS = {"evtop": evtop, "evdump": evdump, "evcam": evcam}


def everything_set():
    return _SETTING.sub("", settings_file())


def options_of(tool):
    return [each for each in tool.params if isinstance(each, Option) and each.in_file]


def test_as_it_is_it_sets_nothing():
    assert not any(tomllib.loads(settings_file()).values())


def test_every_setting_stands_in_it_once():
    found = tomllib.loads(everything_set())
    assert {key for key, value in found.items() if key not in {*TOOLS, "keys"}} == {
        option.name for option in options_of(evtop) if option.shared
    }
    for name, tool in TOOLS.items():
        own = {option.name for option in options_of(tool) if not option.shared}
        assert set(found[name]) == own


@pytest.mark.parametrize("name", TOOLS)
def test_a_tool_takes_every_value_in_it(config, name):
    text = everything_set()
    for option in options_of(TOOLS[name]):
        if option.type in (TEXT_FILE, FILTER_FILE):  # which would be read
            text = re.sub(rf"^{option.name} = .*\n", "", text, flags=re.MULTILINE)
    # There is no such application.
    config(re.sub(r"^app = .*\n", "", text, flags=re.MULTILINE))
    with TOOLS[name].make_context(name, []) as ctx:
        assert ctx.params["heartbeat"] == 10.0
        assert ctx.params["buffer_size"] == 256 * 1024 * 1024


def test_the_keys_are_those_that_are_built_in():
    keys = tomllib.loads(everything_set())["keys"]
    assert set(keys) == {binding.command for binding in BINDINGS}
    assert Keymap(keys).bindings == Keymap().bindings


@pytest.mark.parametrize(
    ("tool", "name", "value"),
    [
        (evtop, "connect_timeout", "4s"),
        (evtop, "max_memory", "256M"),
        (evtop, "max_tasks", 100_000),
        (evtop, "broker_option", {}),
        (evtop, "redact", []),
        (evtop, "tls", True),
        (evtop, "tls_ca", "/path/to/file"),
        (evdump, "output", "text"),
        (evdump, "count", 100),
        (evdump, "template", "TEXT"),
        (evcam, "uid", "celery"),
    ],
)
def test_a_value_is_the_default_or_an_example(tool, name, value):
    (option,) = [each for each in tool.params if each.name == name]
    assert value_of(option) == value


def test_no_line_is_too_long():
    assert max(map(len, settings_file().splitlines())) <= 88
