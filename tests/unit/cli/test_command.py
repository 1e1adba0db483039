import io
import json
import subprocess
import sys
from pathlib import Path

import pytest
import setproctitle
from celery.bin.celery import celery
from click.testing import CliRunner

from evtools.cli import cam, top
from evtools.cli import dump as dump_module
from evtools.cli.command import filter_of, hide_secrets, setup, wants_colour
from evtools.cli.connection import connection_settings
from evtools.cli.dump import evdump
from evtools.cli.main import start
from evtools.cli.tools import command
from evtools.errors import UsageError
from evtools.transport import ConnectionSettings, connect

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
        settings = connection_settings(ctx)
    assert settings.options == {"region": "eu", "sep": ":"}
    assert settings.may_ignore == {
        *("region", "fanout_prefix", "fanout_patterns", "global_keyprefix")
    }
    connect(settings).release()


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


def test_a_bad_value_in_the_file_is_reported_with_its_place(cli, config):
    path = config("[profile.x]\nheartbeat = 'soon'")
    ended = cli("--profile", "x", "--show-config")
    assert ended.status == 78
    assert f"evdump: {path} [profile.x]: heartbeat: " in ended.err
    assert "invalid duration" in ended.err


def test_a_bad_value_of_the_application_is_reported_with_its_name(cli, application):
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


def test_versions_are_printed_before_anything_is_read(cli, config):
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


# --- settings and secrets ------------------------------------------------------------


URL = "redis://:s3kr1t@h/0"


@pytest.fixture
def titles(monkeypatch):
    """Return what `ps` shows."""
    titles = []
    monkeypatch.setattr(setproctitle, "setproctitle", titles.append)
    return titles


def context(*arguments):
    return evdump.make_context("evdump", [*arguments])


def test_the_settings_are_those_of_the_command_line():
    ctx = context("-b", "redis://h/1")
    assert setup(ctx) == connection_settings(ctx)


def test_they_may_be_made_otherwise():
    made = ConnectionSettings(urls="redis://other")
    assert setup(context(), lambda _ctx: made) is made
    with pytest.raises(UsageError):
        setup(context("-b", "nonsense"))


def test_secrets_leave_the_process_list(titles, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["evdump", "-b", URL, "more"])
    setup(context("-b", URL), secrets=["more"])
    assert titles == ["evdump -b redis://:**@h/0 **"]


def test_settings_that_are_shown_are_not_used(capsys):
    assert setup(context("-b", URL, "--show-config")) is None
    assert '= "redis://:**@h/0" ' in capsys.readouterr().out


@pytest.mark.parametrize("level", ["warning", "error"])
def test_what_is_doubtful_is_logged(caplog, config, level):
    path = config("broker = 'redis://:pw@h'", mode=0o644)
    setup(context("--accept", "pickle"), level=level)
    (open_file, pickle) = caplog.records
    assert f"{path} holds a password" in open_file.getMessage()
    assert pickle.getMessage().startswith("pickled events are decoded")
    assert {record.levelname for record in caplog.records} == {level.upper()}


def test_the_password_leaves_the_process_list(titles):
    hide_secrets(["evdump", "-b", "redis://:s3kr1t@h/0"], "redis://:s3kr1t@h/0")
    assert titles == ["evdump -b redis://:**@h/0"]


def test_other_secrets_leave_it_too(titles):
    words = ["evcam", "-c", "postgres:x://u:one@h", "--camera-option", "password=two"]
    hide_secrets(words, "redis://h", ["one", "", "two"])
    assert titles == ["evcam -c postgres:x://u:**@h --camera-option password=**"]


def test_a_password_in_a_command_leaves_it(titles):
    command = "vault read --token s3kr1t http://me:s3kr1t@vault/"
    hide_secrets(["evdump", "--broker-command", command], "redis://h")
    assert titles == ["evdump --broker-command vault read --token ** http://**@vault/"]


def test_a_title_without_password_stays(titles):
    hide_secrets(["evdump", "-b", "@file"], "redis://:s3kr1t@h/0")
    hide_secrets(["evdump", "-b", "redis://h"], "redis://h")
    assert titles == []


# --- colours and filters -------------------------------------------------------------


@pytest.mark.parametrize(
    ("when", "environ", "is_terminal", "expected"),
    [
        ("auto", {}, True, True),
        ("auto", {}, False, False),
        ("auto", {"TERM": "dumb"}, True, False),
        ("auto", {"NO_COLOR": "1"}, True, False),
        ("auto", {"NO_COLOR": ""}, True, True),
        ("auto", {"EVTOOLS_NO_COLOR": "1"}, True, False),
        ("auto", {"NO_COLOR": "1", "FORCE_COLOR": "1"}, True, False),
        ("auto", {"FORCE_COLOR": "1"}, False, True),
        ("auto", {"FORCE_COLOR": "0"}, False, False),
        ("auto", {"FORCE_COLOR": ""}, False, False),
        ("auto", {"CLICOLOR_FORCE": "1", "TERM": "dumb"}, False, True),
        ("always", {"NO_COLOR": "1", "TERM": "dumb"}, False, True),
        ("never", {"FORCE_COLOR": "1"}, True, False),
    ],
)
def test_the_first_in_the_order_decides(monkeypatch, when, environ, is_terminal, expected):
    for name in ("NO_COLOR", "EVTOOLS_NO_COLOR", "FORCE_COLOR", "CLICOLOR_FORCE", "TERM"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    stream = io.StringIO()
    stream.isatty = lambda: is_terminal
    assert wants_colour(when, stream) is expected


def test_words_are_joined_by_blanks():
    assert filter_of(["state:failure", "runtime>2"]) == "state:failure runtime>2"
    assert filter_of([]) == ""


def test_a_broker_is_no_filter_and_its_password_is_not_shown():
    with pytest.raises(UsageError, match="looks like a broker URL") as caught:
        filter_of(["redis://:s3kr1t@h/0"])
    assert "s3kr1t" not in str(caught.value)


def test_a_url_in_a_filter_is_one():
    assert filter_of(["args:x", "http://h"]) == "args:x http://h"


def test_what_the_shell_has_taken_is_missed(tmp_path, monkeypatch):
    with (tmp_path / "2").open("w") as file:
        monkeypatch.setattr(sys, "stdout", file)
        with pytest.raises(UsageError, match="the filter is just 'runtime'"):
            filter_of(["runtime"])


def test_into_a_pipe_a_field_may_be_a_word(monkeypatch):
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    assert filter_of(["runtime"]) == "runtime"


# --- below celery --------------------------------------------------------------------


@pytest.fixture(scope="module")
def with_plugins():
    """Return celery's command with ours in it, as the entry point puts it there."""
    before = dict(celery.commands)
    for module in (cam, dump_module, top):
        celery.add_command(module.celery_command)
    yield celery
    celery.commands.clear()
    celery.commands.update(before)


@pytest.fixture
def run(with_plugins, tmp_path, monkeypatch):
    """Run `celery -A proj evdump ...`, or another `tool`."""
    name = f"proj_{tmp_path.name}"
    (tmp_path / f"{name}.py").write_text(
        "from celery import Celery\n"
        "app = Celery('x', broker='redis://:pw@app/1', set_as_current=False)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))

    def invoke(*arguments, tool="evdump"):
        return CliRunner().invoke(with_plugins, ["-A", name, tool, *arguments])

    return invoke


def test_the_application_of_celery_gives_the_settings(run):
    ended = run("--show-config")
    assert ended.exit_code == 0
    assert '"redis://:**@app/1"' in ended.stdout


def test_a_flag_of_ours_beats_the_application(run):
    ended = run("--show-config", "-b", "redis://mine")
    assert '"redis://mine"' in ended.stdout


def test_it_does_the_same_as_evdump(run, tmp_path):
    (tmp_path / "day.json").write_text('{"type": "task-sent", "uuid": "1"}\n')
    code = (
        "import sys\n"
        "from celery.bin.celery import celery\n"
        "from evtools.cli.dump import celery_command as evdump\n"
        "celery.add_command(evdump)\n"
        "celery(['evdump', '-r', 'day.json', '-o', 'raw', '-q'])"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=True, cwd=tmp_path
    )
    assert json.loads(ended.stdout) == {"type": "task-sent", "uuid": "1"}


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (("--config", "none.toml"), 78, "evdump: none.toml: No such file"),
        (("--event-queue-durable",), 2, "exclude each other"),
        (("--heartbeat", "x"), 2, "invalid duration"),
    ],
)
def test_failures_look_like_evdumps_own(run, arguments, status, words):
    ended = run(*arguments)
    assert ended.exit_code == status
    assert words in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("tool", ["evdump", "evtop", "evcam"])
def test_each_tool_knows_the_application(run, tool):
    ended = run("--show-config", tool=tool)
    assert ended.exit_code == 0
    assert '"redis://:**@app/1"' in ended.stdout


def test_evtop_fails_under_its_own_name(run):
    ended = run("-B", "-r", "none", tool="evtop")
    assert ended.exit_code == 2
    assert "evtop: cannot read none" in ended.stderr
