import io
import re
import sys
import tomllib

import pytest

from evtools.cli.cam import evcam
from evtools.cli.config_command import settings_file
from evtools.cli.dump import evdump
from evtools.cli.main import start
from evtools.cli.options import Option, file_options
from evtools.cli.top import evtop
from evtools.top.keys import BINDINGS, Keymap


def test_every_setting_is_shown(shown):
    names = {option.name for option in evdump.params if isinstance(option, Option)}
    not_in_file = (
        "config profile show_config version version_line json_output ts_count read since table"
    )
    assert names - set(shown()) == {*not_in_file.split(), "until", "demo"}


@pytest.mark.parametrize(
    ("arguments", "name", "value"),
    [
        ((), "app", "-"),
        ((), "tls", "-"),
        ((), "accept", '["json", "msgpack", "yaml"]'),
        ((), "event_routing_key", '["#"]'),
        ((), "event_queue_ttl", "5"),
        (("--event-queue-ttl", "none"), "event_queue_ttl", '"none"'),
        (("--tls",), "tls", "true"),
        (("--no-reconnect",), "reconnect", "false"),
        (("-c", "3"), "count", "3"),
        (("--speed", "max", "-r", "x"), "speed", "inf"),
        (("--broker-option", "a b=1"), "broker_option", '{"a b" = 1}'),
        (("-H", 'a"\x1b'), "highlight", r'"a\"\u001b"'),
        (("-F", "filter.txt"), "filter_file", '"filter.txt"'),
        (("--broker-command", "vault read 'a b'"), "broker_command", """"vault read 'a b'\""""),
        (("-b", "redis://:s3kr1t@h/0"), "broker", '"redis://:**@h/0"'),
        (("--broker-option", 'sentinel_kwargs={"password": "s3kr1t"}'), "broker_option",
         '{sentinel_kwargs = {password = "**"}}'),
    ],
)  # fmt: skip
def test_values_are_written_as_in_the_file(shown, tmp_path, arguments, name, value):
    (tmp_path / "filter.txt").write_text("type:x")
    assert shown(*arguments)[name][0] == value


# --- evtools config -----------------------------------------------------------------


@pytest.fixture
def all_parts(capsys):
    """Run `evtools config`; return the lines of each part, by name."""

    def run(*arguments):
        assert start("config", arguments) == 0
        found = {"": []}
        for line in capsys.readouterr().out.splitlines():
            if line.startswith("["):
                found[line.strip("[]")] = []
            else:
                found[[*found][-1]].append(" ".join(line.split()))
        return found

    return run


def test_what_all_tools_share_comes_first_and_what_is_different_with_the_tool(all_parts, config):
    path = config('heartbeat = "9s"\n[evcam]\nheartbeat = "3s"\npidfile = "x"\n')
    parts = all_parts("-b", "redis://:s3kr1t@h/0")
    assert list(parts) == ["", "evtop", "evdump", "evcam"]
    assert parts[""][0] == f"# settings file: {path}"
    assert 'broker = "redis://:**@h/0" # -b flag' in parts[""]
    assert f"heartbeat = 9 # {path}" in parts[""]
    assert 'theme = "dark" # default' in parts["evtop"]
    assert "heartbeats = true # default" in parts["evdump"]
    assert "freq = 1 # default" in parts["evcam"]
    assert f"heartbeat = 3 # {path} [evcam]" in parts["evcam"]
    own = [line for name in ("evtop", "evdump", "evcam") for line in parts[name]]
    assert len([line for line in own if line.startswith(("broker =", "heartbeat ="))]) == 1


def test_the_environment_profiles_and_keys_count(all_parts, config, monkeypatch):
    path = config(
        '[profile.prod.evtop]\ntheme = "light"\n[keys]\nsort-left = "L"\n'
        '[profile.prod.evtop.columns]\ntasks = ["name"]\n'
        '[alert.slow]\nview = "tasks"\nfilter = "runtime>1m"\nfor = "90s"\n'
    )
    monkeypatch.setenv("EVDUMP_TS", "utc")
    parts = all_parts("--profile", "prod")
    assert any("profile.prod.evtop" in line for line in parts["evtop"])
    assert 'ts = "utc" # EVDUMP_TS' in parts["evdump"]
    assert parts["keys"][0] == f'sort-left = "L" # {path}'
    columns = f'tasks = ["name"] # {path} [profile.prod.evtop.columns]'
    assert parts["evtop.columns"] == [columns, ""]
    assert f'for = "90s" # {path}' in parts["alert.slow"]
    assert {*parts} == {"", "evtop", "keys", "evtop.columns", "alert.slow", "evdump", "evcam"}


def test_stdin_is_read_once(all_parts, monkeypatch):
    stdin = io.TextIOWrapper(io.BytesIO(b"redis://:s3kr1t@h/0\n"))
    monkeypatch.setattr(sys, "stdin", stdin)
    parts = all_parts("-b", "eu=redis://:s3kr1t@e", "-b", "prod=-")
    shown = 'broker = ["eu=redis://:**@e", "prod=redis://:**@h/0"] # -b flag, -b - (stdin)'
    assert shown in parts[""]
    own = [line for name in ("evtop", "evdump", "evcam") for line in parts[name]]
    assert not [line for line in own if line.startswith("broker =")]
    assert sys.stdin is stdin


@pytest.mark.parametrize(
    ("text", "arguments", "status", "words"),
    [
        ('broker = "redis://:s3kr1t@h/0"', [], 0, "readable by everyone"),
        ('[evtop]\nthemes = "dark"\n', [], 78, "evtop.themes: there is no such setting"),
        ('[evtop]\nthemes = "dark"\n', [], 78, "did you mean theme?"),
        ("nonsense = 1\n", ["--default"], 0, ""),
    ],
)
def test_mistakes_are_reported_but_for_a_new_file(config, capsys, text, arguments, status, words):
    config(text, mode=0o644)
    assert start("config", arguments) == status
    assert words in capsys.readouterr().err


# --- a first settings file ----------------------------------------------------------

# A setting in a comment has no blank after the #.
_SETTING = re.compile(r'^#(?=([\w-]+|"[^"]+") = )', re.MULTILINE)

TOOLS = {"evtop": evtop, "evdump": evdump, "evcam": evcam}


def everything_set():
    return _SETTING.sub("", settings_file())


def test_every_setting_stands_in_it_once_and_is_not_set():
    assert not any(tomllib.loads(settings_file()).values())
    assert max(map(len, settings_file().splitlines())) <= 88
    found = tomllib.loads(everything_set())
    shared = {option.name for option in file_options(evtop) if option.shared}
    assert set(found) == {*shared, *TOOLS, "keys"}
    assert found["broker"] == "amqp://guest@localhost//"  # and no list, which needs names
    for name, tool in TOOLS.items():
        assert set(found[name]) == {option.name for option in file_options(tool)} - shared


@pytest.mark.parametrize("name", TOOLS)
def test_a_tool_takes_every_value_in_it(config, name):
    text = everything_set()
    # These files would be read, and there is no such application.
    for option in ("app", "filter_file", "template_file"):
        text = re.sub(rf"^{option} = .*\n", "", text, flags=re.MULTILINE)
    config(text)
    with TOOLS[name].make_context(name, []) as ctx:
        assert ctx.params["heartbeat"] == 10.0
        assert ctx.params["buffer_size"] == 256 * 1024 * 1024


def test_the_keys_are_those_that_are_built_in():
    keys = tomllib.loads(everything_set())["keys"]
    assert set(keys) == {binding.command for binding in BINDINGS}
    assert Keymap(keys).bindings == Keymap().bindings
