import io
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
from evtools.cli.options import Option
from evtools.cli.tools import command
from evtools.errors import UsageError
from evtools.transport import connect

TOOLS = ("top", "cam", "dump", "doctor", "report")


@pytest.mark.parametrize("name", TOOLS)
def test_the_help_is_as_reviewed(capfd, name):
    reviewed = Path(__file__).with_name("help") / f"ev{name}.txt"
    assert start(name, ["--help"]) == 0
    out = capfd.readouterr().out
    assert out == reviewed.read_text()
    assert max(map(len, out.splitlines())) <= 80


def variables(option):
    return [option.envvar] if isinstance(option.envvar, str) else list(option.envvar)


@pytest.mark.parametrize("tool", TOOLS)
def test_every_option_has_a_variable_named_after_it_and_flags_of_its_own(tool):
    taken = {"NO_COLOR", "FORCE_COLOR", "CLICOLOR_FORCE", "EVTOOLS_NO_COLOR"}
    flags = [flag for each in command(tool).params for flag in each.opts + each.secondary_opts]
    assert len(flags) == len(set(flags))
    for option in command(tool).params:
        if not isinstance(option, Option):
            continue
        assert not taken & set(variables(option))
        no_variable = option.group == "Alerts" or (
            tool in ("doctor", "report") and not option.shared
        )
        if option.name in {"json_output", "ts_count", "version_line"} or no_variable:
            assert variables(option) == []
        elif option.name == "broker":
            assert variables(option)[0] == "EVTOOLS_BROKER_URL"
        else:
            prefix = "EVTOOLS" if option.shared else f"EV{tool.upper()}"
            long = next(name for name in option.opts if name.startswith("--")).removeprefix("--")
            assert variables(option) == [f"{prefix}_{long.replace('-', '_').upper()}"]


@pytest.mark.parametrize(
    ("arguments", "environ", "value", "origin"),
    [
        ((), {}, "3", "{file}"),
        ((), {"EVTOOLS_HEARTBEAT": "2"}, "2", "EVTOOLS_HEARTBEAT"),
        (("--heartbeat", "1"), {"EVTOOLS_HEARTBEAT": "2"}, "1", "--heartbeat flag"),
        (("--profile", "prod"), {}, "4", "{file} [profile.prod]"),
        ((), {"EVTOOLS_PROFILE": "prod"}, "4", "{file} [profile.prod]"),
        (("--config", "x.toml"), {}, "7", "x.toml"),
        ((), {"EVTOOLS_CONFIG": "x.toml"}, "7", "x.toml"),
    ],
)
def test_flags_win_over_variables_and_those_over_the_file(
    shown, config, tmp_path, arguments, environ, value, origin
):
    path = config("heartbeat = 3\n[profile.prod]\nheartbeat = 4\n")
    (tmp_path / "x.toml").write_text("heartbeat = 7")
    assert shown(*arguments, **environ)["heartbeat"] == (value, origin.format(file=path))


def test_the_file_wins_over_the_application(shown, config, application):
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


@pytest.mark.parametrize("where", ["flag", "file"])
def test_what_an_application_sets_for_other_transports_is_no_mistake(application, config, where):
    name = application("broker_transport_options={'region': 'eu', 'sep': '.'}")
    config("" if where == "flag" else "[broker_option]\nsep = ':'")
    flags = ["--broker-option", "sep=:"] if where == "flag" else []
    with command("dump").make_context("evdump", ["-A", name, *flags]) as ctx:
        (settings,) = connection_settings(ctx)
    assert settings.options == {"region": "eu", "sep": ":"}
    assert settings.may_ignore == {"region", "fanout_prefix", "fanout_patterns", "global_keyprefix"}
    connect(settings).release()


@pytest.mark.parametrize(
    ("file", "settings", "arguments", "status", "words"),
    [
        ("heartbeat = 'soon'", "", "", 78, "evdump: {file}: heartbeat: invalid duration"),
        ("[profile.x]\nheartbeat = 'soon'", "", "--profile x", 78,
         "evdump: {file} [profile.x]: heartbeat: "),
        ("", "event_queue_ttl='soon'", "", 2, "evdump: -A {app}: event_queue_ttl: "),
        ("", "broker_use_ssl={'colour': 'x'}", "", 2,
         "-A {app}: broker_use_ssl: unknown key colour"),
        ("heartbeat = 1", "", "--heartbeat soon", 2, "Invalid value for '--heartbeat'"),
        ("nonsense", "", "--help", 0, ""),
        ("nonsense", "", "-q --version", 0, ""),
        ("nonsense", "", "-q -V", 0, ""),
    ],
)  # fmt: skip
def test_a_bad_value_is_reported_with_its_place(
    cli, config, application, file, settings, arguments, status, words
):
    path = config(file)
    name = application(settings) if settings else ""
    ended = cli(*(("-A", name) if settings else ()), *arguments.split())
    assert ended.status == status
    assert words.format(file=path, app=name) in ended.err


@pytest.mark.parametrize(
    ("text", "arguments", "environment", "asked"),
    [
        ("", "", {}, True),
        ('broker = "redis://file/0"', "", {}, True),
        ("", "-b redis://given/0", {}, False),
        ("", "-b redis://given/0 --broker-command two", {}, True),
        ("", "", {"CELERY_BROKER_URL": "redis://given/0"}, False),
        ('[evdump]\nbroker = "redis://given/0"', "", {}, False),
        ('[profile.x]\nbroker = "redis://given/0"', "--profile x", {}, False),
        ('[profile.x]\nbroker = "redis://given/0"', "", {}, True),
    ],
)
def test_a_broker_that_is_given_nearer_stands_without_the_command_of_the_file(
    shown, config, text, arguments, environment, asked
):
    config(f'broker_command = "one"\n{text}')
    settings = shown(*arguments.split(), **environment)
    assert (settings["broker_command"][0] != "-") is asked
    if not asked:
        assert "redis://given/0" in settings["broker"][0]


# --- settings and secrets -----------------------------------------------------------


@pytest.fixture
def titles(monkeypatch):
    """Return what `ps` shows."""
    titles = []
    monkeypatch.setattr(setproctitle, "setproctitle", titles.append)
    return titles


@pytest.mark.parametrize(
    ("words", "urls", "others", "title"),
    [
        ("-b redis://:s3kr1t@h/0", "redis://:s3kr1t@h/0", (), "-b redis://:**@h/0"),
        ("-c postgres:x://u:one@h --camera-option password=two", "redis://h", ["one", "", "two"],
         "-c postgres:x://u:**@h --camera-option password=**"),
        ("--broker-command vault read --token s3kr1t http://me:s3kr1t@vault/", "redis://h", (),
         "--broker-command vault read --token ** http://**@vault/"),
        ("-b @file", "redis://:s3kr1t@h/0", (), None),
    ],
)  # fmt: skip
def test_passwords_are_removed_from_the_process_list(titles, words, urls, others, title):
    hide_secrets(["evdump", *words.split()], [urls], others)
    assert titles == ([f"evdump {title}"] if title else [])


@pytest.mark.parametrize("level", ["warning", "error"])
def test_the_setup_warns_and_hides_secrets(titles, monkeypatch, caplog, config, capsys, level):
    path = config("broker = 'redis://:pw@h'", mode=0o644)
    arguments = ["-b", "redis://:s3kr1t@h/0", "--accept", "pickle"]
    monkeypatch.setattr(sys, "argv", ["evdump", *arguments, "more"])
    ctx = evdump.make_context("evdump", arguments)
    assert setup(ctx, secrets=["more"], level=level) == connection_settings(ctx)
    assert titles == ["evdump -b redis://:**@h/0 --accept pickle **"]
    (open_file, pickle) = caplog.records
    assert f"{path} holds a password" in open_file.getMessage()
    assert pickle.getMessage().startswith("pickled events are decoded")
    assert {record.levelname for record in caplog.records} == {level.upper()}


# --- colours and filters -------------------------------------------------------------


@pytest.mark.parametrize(
    ("when", "environ", "is_terminal", "expected"),
    [
        ("auto", {}, True, True), ("auto", {}, False, False),
        ("auto", {"TERM": "dumb"}, True, False), ("auto", {"NO_COLOR": ""}, True, True),
        ("auto", {"EVTOOLS_NO_COLOR": "1"}, True, False),
        ("auto", {"NO_COLOR": "1", "FORCE_COLOR": "1"}, True, False),
        ("auto", {"FORCE_COLOR": "0"}, False, False), ("auto", {"FORCE_COLOR": ""}, False, False),
        ("auto", {"FORCE_COLOR": "1"}, False, True),
        ("auto", {"CLICOLOR_FORCE": "1", "TERM": "dumb"}, False, True),
        ("always", {"NO_COLOR": "1", "TERM": "dumb"}, False, True),
        ("never", {"FORCE_COLOR": "1"}, True, False),
    ],
)  # fmt: skip
def test_the_first_in_the_order_decides(monkeypatch, when, environ, is_terminal, expected):
    for name in ("NO_COLOR", "EVTOOLS_NO_COLOR", "FORCE_COLOR", "CLICOLOR_FORCE", "TERM"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    stream = io.StringIO()
    stream.isatty = lambda: is_terminal
    assert wants_colour(when, stream) is expected


@pytest.mark.parametrize(
    ("words", "into_file", "message"),
    [
        (["args:x", "http://h"], True, ""),
        (["state:failure", "runtime"], False, ""),
        (["redis://:s3kr1t@h/0"], False, "looks like a broker URL"),
        (["state:failure", "runtime"], True, "the filter is just 'runtime'"),
    ],
)
def test_words_are_a_filter_unless_they_are_a_url_or_what_the_shell_left(
    tmp_path, monkeypatch, words, into_file, message
):
    place = tmp_path / "2" if into_file else Path("/dev/null")  # as the shell does for runtime>2
    with place.open("w") as file:
        monkeypatch.setattr(sys, "stdout", file)
        if not message:
            assert filter_of(words) == " ".join(words)
            return
        with pytest.raises(UsageError, match=message) as caught:
            filter_of(words)
    assert caught.value.hint
    assert "s3kr1t" not in str(caught.value)


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
def run(with_plugins, application, tmp_path, monkeypatch):
    """Run `celery -A proj evdump ...`, or another `tool`."""
    name = application("")
    monkeypatch.syspath_prepend(str(tmp_path))

    def invoke(*arguments, tool="evdump"):
        return CliRunner().invoke(with_plugins, ["-A", name, tool, *arguments])

    return invoke


@pytest.mark.parametrize(
    ("tool", "arguments", "status", "words"),
    [
        ("evdump", ("--config", "none.toml"), 78, "evdump: none.toml: No such file"),
        ("evdump", ("--event-queue-durable",), 2, "exclude each other"),
        ("evdump", ("--heartbeat", "x"), 2, "invalid duration"),
        ("evtop", ("-B", "-r", "none"), 2, "evtop: cannot read none"),
    ],
)
def test_failures_look_like_the_tools_own(run, tool, arguments, status, words):
    ended = run(*arguments, tool=tool)
    assert ended.exit_code == status
    assert words in ended.stderr
    assert "Traceback" not in ended.stderr
