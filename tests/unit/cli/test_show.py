import pytest

from evtools.cli.dump_command import evdump
from evtools.cli.options import Option


def test_every_setting_is_shown(shown):
    names = {option.name for option in evdump.params if isinstance(option, Option)}
    assert names - set(shown()) == {
        *("config", "profile", "show_config", "version", "version_line"),
        *("json_output", "ts_count", "read", "since", "until", "demo"),
    }


def test_the_lines_are_aligned(cli):
    out = cli("--show-config").out.splitlines()
    assert out[0] == "# settings file: none"
    assert len({line.index(" = ") for line in out[1:]}) == 1
    assert len({line.index("  # ") for line in out[1:]}) == 1


def test_the_settings_file_is_named(cli, config):
    path = config("")
    assert cli("--show-config").out.startswith(f"# settings file: {path}\n")


def test_no_secret_is_shown(cli):
    out = cli(
        *("--show-config", "-b", "redis://:s3kr1t@h/0"),
        *("--broker-option", 'sentinel_kwargs={"password": "s3kr1t"}'),
    ).out
    assert "s3kr1t" not in out
    assert '"redis://:**@h/0"' in out
    assert '{sentinel_kwargs = {password = "**"}}' in out


@pytest.mark.parametrize(
    ("arguments", "name", "value"),
    [
        ((), "app", "-"),
        ((), "tls", "-"),
        ((), "accept", '["json", "msgpack", "yaml"]'),
        ((), "event_queue_ttl", "5"),
        (("--event-queue-ttl", "none"), "event_queue_ttl", '"none"'),
        (("--tls",), "tls", "true"),
        (("--no-reconnect",), "reconnect", "false"),
        (("-c", "3"), "count", "3"),
        (("--speed", "max", "-r", "x"), "speed", "inf"),
        (("--broker-option", "a b=1"), "broker_option", '{"a b" = 1}'),
        (("-H", 'a"\x1b'), "highlight", r'"a\"\u001b"'),
        (("-F", "filter.txt"), "filter_file", '"filter.txt"'),
    ],
)
def test_values_are_written_as_in_the_file(shown, tmp_path, arguments, name, value):
    (tmp_path / "filter.txt").write_text("type:x")
    assert shown(*arguments)[name][0] == value


def test_a_command_is_shown_as_it_would_be_typed(cli):
    out = cli("--broker-command", "vault read 'a b'", "--show-config").out
    assert """broker_command        = "vault read 'a b'" """ in out
