import io
import sys
import tomllib

import pytest

from evtools.cli.entry import start


@pytest.fixture
def told(capsys):
    """Run `evtools config`; return the lines of each part, by name."""

    def run(*arguments):
        assert start("config", arguments) == 0
        parts = {"": []}
        for line in capsys.readouterr().out.splitlines():
            if line.startswith("["):
                parts[line.strip("[]")] = []
            else:
                parts[[*parts][-1]].append(" ".join(line.split()))
        return parts

    return run


def test_what_all_tools_share_comes_first_and_once(told):
    parts = told("-b", "redis://:s3kr1t@h/0")
    assert list(parts) == ["", "evtop", "evdump", "evcam"]
    assert parts[""][0] == "# settings file: none"
    assert 'broker = "redis://:**@h/0" # -b flag' in parts[""]
    assert 'theme = "dark" # default' in parts["evtop"]
    assert "heartbeats = true # default" in parts["evdump"]
    assert "freq = 1 # default" in parts["evcam"]
    own = [line for name in ("evtop", "evdump", "evcam") for line in parts[name]]
    assert not [line for line in own if line.startswith("broker =")]


def test_what_a_tool_has_otherwise_stands_with_the_tool(told, config):
    path = config('heartbeat = "9s"\n[evcam]\nheartbeat = "3s"\npidfile = "x"\n')
    parts = told()
    assert parts[""][0] == f"# settings file: {path}"
    assert f"heartbeat = 9 # {path}" in parts[""]
    assert f"heartbeat = 3 # {path} [evcam]" in parts["evcam"]
    assert f'pidfile = "x" # {path} [evcam]' in parts["evcam"]
    assert not [line for line in parts["evtop"] if "heartbeat" in line]


def test_the_environment_and_profiles_count(told, config, monkeypatch):
    config('[profile.prod.evtop]\ntheme = "light"\n')
    monkeypatch.setenv("EVDUMP_TS", "utc")
    parts = told("--profile", "prod")
    assert any("profile.prod.evtop" in line for line in parts["evtop"])
    assert 'ts = "utc" # EVDUMP_TS' in parts["evdump"]


def test_keys_stand_with_evtop(told, config):
    path = config('[keys]\nsort-left = "L"\n')
    parts = told()
    assert parts["keys"][0] == f'sort-left = "L" # {path}'
    assert list(parts) == ["", "evtop", "keys", "evdump", "evcam"]


def test_stdin_is_read_once(told, monkeypatch):
    stdin = io.TextIOWrapper(io.BytesIO(b"redis://:s3kr1t@h/0\n"))
    monkeypatch.setattr(sys, "stdin", stdin)
    assert 'broker = "redis://:**@h/0" # -b - (stdin)' in told("-b", "-")[""]
    assert sys.stdin is stdin


def test_a_file_that_all_can_read_is_warned_of(told, config, capsys):
    config('broker = "redis://:s3kr1t@h/0"', mode=0o644)
    assert start("config", []) == 0
    assert "everybody on this host may read it" in capsys.readouterr().err


def test_a_mistake_in_the_table_of_a_tool_is_told(config, capsys):
    config('[evtop]\nthemes = "dark"\n')
    assert start("config", []) == 78
    err = capsys.readouterr().err
    assert "evtop.themes: there is no such setting" in err
    assert "did you mean theme?" in err


def test_a_settings_file_to_begin_with_needs_no_good_one(capsys, config):
    config("nonsense = 1\n")
    assert start("config", ["--default"]) == 0
    assert "[evtop]" in capsys.readouterr().out


def test_a_settings_file_to_begin_with_is_printed(capsys):
    assert start("config", ["--default"]) == 0
    assert tomllib.loads(capsys.readouterr().out) == {
        "evtop": {},
        "evdump": {},
        "evcam": {},
        "keys": {},
    }
