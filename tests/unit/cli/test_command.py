from pathlib import Path

import click
import pytest

from evtools.cli.command import Sources, sources_of
from evtools.cli.connecting import connection_settings
from evtools.cli.entry import command, start
from evtools.transport import connect

TOOLS = ("top", "cam", "dump", "doctor")


@pytest.mark.parametrize("name", TOOLS)
def test_the_help_is_as_reviewed(capfd, name):
    reviewed = Path(__file__).with_name("help") / f"ev{name}.txt"
    assert start(name, ["--help"]) == 0
    out = capfd.readouterr().out
    assert out == reviewed.read_text()
    assert max(map(len, out.splitlines())) <= 80


@pytest.mark.parametrize("name", TOOLS)
def test_every_option_has_one_of_the_groups_and_every_group_options(name):
    tool = command(name)
    used = {getattr(option, "group", "Other") for option in tool.params}
    assert used == set(tool.groups)


def test_a_flag_beats_a_variable_beats_the_file(shown, config):
    path = config("heartbeat = 3")
    assert shown()["heartbeat"] == ("3", str(path))
    assert shown(EVTOOLS_HEARTBEAT="2")["heartbeat"] == ("2", "EVTOOLS_HEARTBEAT")
    assert shown("--heartbeat", "1", EVTOOLS_HEARTBEAT="2")["heartbeat"] == (
        "1",
        "--heartbeat flag",
    )


def test_the_file_beats_the_application(shown, config, application):
    config("event_exchange = 'file'")
    rows = shown("-A", application("event_exchange='app', event_queue_ttl=2.5"))
    assert rows["event_exchange"][0] == '"file"'
    assert rows["event_queue_ttl"][0] == "2.5"
    assert rows["event_queue_ttl"][1].startswith("-A proj")


@pytest.fixture
def application(tmp_path):
    """Write a module with a Celery application; return its name."""
    numbers = iter(range(100))

    def write(settings):
        name = f"proj_{tmp_path.name}_{next(numbers)}"
        (tmp_path / f"{name}.py").write_text(
            "from celery import Celery\n"
            "app = Celery('x', broker='redis://:pw@app/1', set_as_current=False)\n"
            f"app.conf.update({settings})\n"
        )
        return name

    return write


BROKERS = [
    ("EVTOOLS_BROKER_URL", "redis://evtools"),
    ("CELERY_BROKER_READ_URL", "redis://read"),
    ("CELERY_BROKER_URL", "redis://celery"),
    ("BROKER_URL", "redis://old"),
]


def test_the_broker_is_looked_for_in_the_promised_order(shown, config, application):
    name = application("")
    environ = dict(BROKERS)
    assert shown("-b", "redis://flag", **environ)["broker"] == ('"redis://flag"', "-b flag")
    for variable, url in BROKERS:
        assert shown("-A", name, **environ)["broker"] == (f'"{url}"', variable)
        del environ[variable]
    path = config("broker = 'redis://file'")
    assert shown("-A", name)["broker"] == ('"redis://file"', str(path))
    path.unlink()
    assert shown("-A", name)["broker"] == ('"redis://:**@app/1"', f"-A {name}")
    assert shown()["broker"] == ('"amqp://guest@localhost//"', "Celery's default")


def test_an_application_may_be_named_by_variable_or_file(shown, config, application):
    name = application("")
    assert shown(EVTOOLS_APP=name)["broker"][1] == f"-A {name}"
    config(f"app = '{name}'")
    assert shown()["broker"][1] == f"-A {name}"


def test_transport_options_of_all_sources_are_merged(shown, config, application):
    name = application("broker_transport_options={'a': 1, 'b': 1, 'c': 1}")
    config("[broker_option]\nb = 2\nc = 2")
    value, origin = shown("-A", name, "--broker-option", "c=3")["broker_option"]
    assert value == "{a = 1, b = 2, c = 3}"
    assert origin == "--broker-option flag"
    value, _ = shown("-A", name, EVTOOLS_BROKER_OPTION="c=4 d=x")["broker_option"]
    assert value == '{a = 1, b = 2, c = 4, d = "x"}'


def test_what_an_application_sets_for_other_transports_is_no_mistake(application):
    name = application("broker_transport_options={'region': 'eu', 'sep': '.'}")
    arguments = ["-A", name, "--broker-option", "sep=:"]
    with command("dump").make_context("evdump", arguments) as ctx:
        told = connection_settings(ctx)
    assert told.options == {"region": "eu", "sep": ":"}
    assert told.may_ignore == {*("region", "fanout_prefix", "fanout_patterns", "global_keyprefix")}
    connect(told).release()


def test_a_profile_is_chosen_by_flag_or_variable(shown, config):
    config("heartbeat = 1\n[profile.prod]\nheartbeat = 2")
    assert shown()["heartbeat"][0] == "1"
    assert shown("--profile", "prod")["heartbeat"][0] == "2"
    assert shown(EVTOOLS_PROFILE="prod")["heartbeat"][0] == "2"


def test_a_settings_file_is_chosen_by_flag_or_variable(shown, tmp_path):
    (tmp_path / "x.toml").write_text("heartbeat = 7")
    (tmp_path / "y.toml").write_text("heartbeat = 8")
    assert shown("--config", "x.toml")["heartbeat"] == ("7", "x.toml")
    assert shown(EVTOOLS_CONFIG="y.toml")["heartbeat"] == ("8", "y.toml")


def test_a_bad_value_in_the_file_is_told_by_its_place(cli, config):
    path = config("[profile.x]\nheartbeat = 'soon'")
    ended = cli("--profile", "x", "--show-config")
    assert ended.status == 78
    assert f"evdump: {path} [profile.x]: heartbeat: " in ended.err
    assert "invalid duration" in ended.err


def test_a_bad_value_of_the_application_is_told_by_its_name(cli, application):
    name = application("event_queue_ttl='soon'")
    ended = cli("-A", name)
    assert ended.status == 2
    assert f"evdump: -A {name}: event_queue_ttl: " in ended.err


def test_a_setting_of_the_application_that_means_nothing_is_named(cli, application):
    name = application("broker_use_ssl={'colour': 'x'}")
    ended = cli("-A", name)
    assert ended.status == 2
    assert f"-A {name}: broker_use_ssl: unknown key colour" in ended.err


def test_a_bad_flag_is_the_users_own_mistake(cli, config):
    config("heartbeat = 1")
    ended = cli("--heartbeat", "soon")
    assert ended.status == 2
    assert "Invalid value for '--heartbeat'" in ended.err


def test_help_needs_no_good_settings_file(cli, config):
    config("nonsense")
    assert cli("--help").status == 0


def test_without_parsing_there_are_no_sources():
    with click.Context(click.Command("x")) as ctx:
        assert sources_of(ctx) == Sources()


def test_help_is_grouped(cli):
    out = cli("--help").out
    assert "\nCommon:\n" in out
    assert "\nTLS:\n" in out


def test_versions_are_told_before_anything_is_read(cli, config):
    config("nonsense")
    assert cli("--version").status == 0
    assert cli("-q", "-V").out.startswith("evdump ")


@pytest.mark.parametrize(
    ("text", "arguments", "environment", "asked"),
    [
        ("", (), {}, True),
        ('broker = "redis://file/0"', (), {}, True),
        ("", ("--broker-command", "two"), {}, True),
        ("", ("-b", "redis://given/0"), {}, False),
        ("", ("-b", "redis://given/0", "--broker-command", "two"), {}, True),
        ("", (), {"CELERY_BROKER_URL": "redis://given/0"}, False),
        ('[evdump]\nbroker = "redis://given/0"', (), {}, False),
        ('[profile.x]\nbroker = "redis://given/0"', ("--profile", "x"), {}, False),
        ('[profile.x]\nbroker = "redis://given/0"', (), {}, True),
        ('[profile.x]\nbroker_command = "two"', ("--profile", "x"), {}, True),
    ],
)
def test_a_broker_that_is_given_nearer_stands_without_the_command_of_the_file(
    shown, config, monkeypatch, text, arguments, environment, asked
):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    config(f'broker_command = "one"\n{text}')
    settings = shown(*arguments)
    assert (settings["broker_command"][0] != "-") is asked
    if not asked:
        assert "redis://given/0" in settings["broker"][0]
