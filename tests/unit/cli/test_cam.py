import json
import logging
import re
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import setproctitle

from evtools.cam.options import BUILT_IN, COMMANDS, CamOptions
from evtools.cli.cam import build_options, evcam, secrets
from evtools.cli.connection import connection_settings
from evtools.errors import UsageError


def context(*arguments):
    return evcam.make_context("evcam", list(arguments))


def options(*arguments):
    """Return the options of a command line that names a camera."""
    return build_options(context("-c", "m.C", *arguments))


@pytest.mark.parametrize(
    ("typed", "fields"),
    [
        ("", {}),
        ("-F 500ms -r 10/m -d --cleanup-freq 0 --warm-up 5s --max-failures 3",
         {"freq": 0.5, "maxrate": "10/m", "detach": True, "cleanup_freq": 0.0, "warm_up": 5.0,
          "max_failures": 3}),
        ("--camera-option keep=30d --camera-option url=a=b --allow-insecure-camera",
         {"camera_options": {"keep": "30d", "url": "a=b"}, "allow_insecure_camera": True}),
        ("--pythonpath /a --pythonpath /b --pidfile x.pid --uid nobody --gid 7 --umask 027",
         {"pythonpath": ("/a", "/b"), "pidfile": "x.pid", "uid": "nobody", "gid": "7",
          "umask": 0o027}),
        ("--workdir /w --executable py --listen :9808 --ready-timeout 1m --shutdown-timeout 5",
         {"workdir": "/w", "executable": "py", "listen": ":9808", "ready_timeout": 60.0,
          "shutdown_timeout": 5.0}),
        ("-f x.log --log-format json --filter a --filter b --max-tasks 10 --max-memory 1M",
         {"logfile": "x.log", "log_format": "json", "filters": ("a", "b"), "max_tasks": 10,
          "max_memory": 2**20}),
        ("--redact token --demo --once", {"redact": ("token",), "demo": True, "once": True}),
        ("--read x --speed 10x --test", {"read": ("x",), "speed": 10.0, "test": True}),
        ("-q", {"loglevel": logging.WARNING, "quiet": True}),
        ("-v", {"loglevel": logging.DEBUG}),
        ("--debug", {"loglevel": logging.DEBUG}),
        ("-q -l INFO", {"loglevel": logging.INFO, "quiet": True}),
        ("-l FATAL", {"loglevel": logging.CRITICAL}),
    ],
)  # fmt: skip
def test_every_option_reaches_its_field(typed, fields):
    made = options(*typed.split())
    assert made == replace(CamOptions(camera="m.C", zone=made.zone), **fields)


def test_the_settings_file_may_have_numbers_and_a_table(config):
    config(
        "[evcam]\ncamera = 'm.C'\nuid = 1000\ngid = 7\numask = 0o022\nmaxrate = 5\n"
        "pythonpath = '/a'\nfilter = ['a', 'b']\n[evcam.camera_option]\nkeep = 30\n"
        "vacuum = true\n"
    )
    made = build_options(context("--camera-option", "keep=7d"))
    assert (made.uid, made.gid, made.umask, made.maxrate) == ("1000", "7", 18, "5")
    assert (made.pythonpath, made.filters) == (("/a",), ("a", "b"))
    # A flag replaces the same option of the file, and keeps the others.
    assert made.camera_options == {"keep": "7d", "vacuum": True}


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ("--read x --demo", "--read and --demo exclude each other"),
        ("-d --once", "--detach excludes --once and --test"),
        ("-d --test", "--detach excludes --once and --test"),
        ("-d --read -", "--detach and --read - exclude each other"),
        ("-d -f /dev/stdout", "--detach needs a regular log file"),
        ("--read x --queue q", "--read and --queue exclude each other"),
        ("--speed 2x", "--speed requires --read"),
        ("-r often", '"often"'),
        ("--camera= check", "no camera given"),
    ],
)
def test_options_that_conflict_are_refused(typed, words):
    with pytest.raises(UsageError, match=words):
        options(*typed.split())


@pytest.mark.parametrize("command", ["status", "stop"])
def test_a_command_about_another_process_needs_no_camera_and_no_broker(cam, command):
    assert cam(command, "-b", "sqs://x", "--pidfile", "x.pid", "-r", "often").status == 3


def test_the_broker_must_support_events_and_may_have_a_shared_queue(cam):
    assert "SQS is not supported" in cam("-c", "m.C", "-b", "sqs://x").err
    assert "no module m" in cam("-c", "m.C", "-b", "sqs://x", "--demo").err
    ctx = context("-c", "m.C", "-b", "amqp://h", "--queue", "evcam")
    (settings,) = connection_settings(ctx)
    assert settings.event_queue == "evcam"


def test_options_of_a_camera_may_be_secret():
    typed = (
        "-c postgres:postgresql://me:one@h/db --camera-option password=two"
        " --camera-option url=x://u:three@h --camera-option keep=30d --camera-option plain=x://h/db"
    )
    assert set(secrets(context(*typed.split()).params)) == {"one", "two", "three"}


# --- the command --------------------------------------------------------------------

GOLDEN = Path(__file__).with_name("help") / "evcam.txt"
CAMERA = """
from evtools import Polaroid

class Camera(Polaroid):
    def on_shutter(self, state):
        print("a shot of", len(state.tasks) > 0)
"""


@pytest.fixture
def camera(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", sys.path[:])
    monkeypatch.setattr(logging.getLogger("evtools"), "level", logging.NOTSET)
    name = f"photo_{tmp_path.name}"
    (tmp_path / f"{name}.py").write_text(CAMERA)
    yield f"{name}.Camera"
    sys.modules.pop(name, None)


def test_the_help_names_every_camera_and_command():
    text = GOLDEN.read_text()
    assert all(re.search(rf"\b{name}\b", text) for name in (*BUILT_IN, *COMMANDS))


CELERYS = """
-c --camera; -d --detach; -F --freq --frequency; -r --maxrate; -l --loglevel; -f --logfile;
--pidfile; --uid; --gid; --umask; --executable; --workdir; -A --app; -b --broker; -q --quiet
"""


def test_celerys_letters_mean_the_same():
    ours = {" ".join(option.opts) for option in evcam.params}
    assert {" ".join(each.split()) for each in CELERYS.split(";")} <= ours


def test_a_recording_is_shot_once(cam, camera, tmp_path):
    event = {"type": "task-sent", "uuid": "1", "name": "a", "local_received": 1e9}
    (tmp_path / "day.json").write_text(json.dumps({**event, "timestamp": 1e9}))
    ended = cam("-c", camera, "--allow-insecure-camera", "--read", "day.json", "--once")
    assert ended.status == 0, ended.err
    assert ended.out == "a shot of True\n"


def test_the_log_is_on_stderr_unless_it_is_a_file(cam, camera, tmp_path):
    words = ("-c", camera, "--allow-insecure-camera", "--demo", "--once", "-F", "0.1")
    assert "Z info listening on" in cam(*words).err
    assert cam(*words, "-f", "x.log").err == ""
    assert "Z info listening on" in (tmp_path / "x.log").read_text()
    assert cam(*words, "-l", "error").err == ""


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ("", ["evcam: no camera given", *BUILT_IN]),
        ("-c os.path --demo", ["evcam: os.path is not a camera"]),
        ("strat", ["'strat' is not one of 'status', 'stop', 'check'"]),
    ],
)
def test_a_mistake_is_one_error(cam, typed, words):
    ended = cam(*typed.split())
    assert ended.status == 2
    assert all(word in ended.err for word in words)
    assert "Traceback" not in ended.err


def test_commands_answer_on_stdout(cam, camera):
    ended = cam("status", "--pidfile", "x.pid")
    assert ended.status == 3
    assert ended.out.startswith("evcam is not running: ")
    assert cam("stop", EVCAM_PIDFILE="x.pid").status == 3
    assert cam("--pidfile", "x.pid", "status").status == 3
    ended = cam("check", "-c", camera, "--allow-insecure-camera", "--demo")
    assert ended.status == 0, ended.err
    assert ended.out.startswith("camera: ")


def test_no_password_of_a_camera_is_shown(cam, cam_shown, config, monkeypatch):
    config(
        "[evcam]\ncamera = 'postgres:postgresql://me:s3kr1t@h/db'\n"
        "[evcam.camera_option]\nurl = 'postgresql://me:s3kr1t@h/db'\n"
        "password = 's3kr1t'\nkeep = '30d'\n"
    )
    shown = cam_shown()
    assert shown["camera"][0] == '"postgres:postgresql://**@h/db"'
    assert "s3kr1t" not in shown["camera_option"][0]
    assert 'keep = "30d"' in shown["camera_option"][0]
    titles = []
    monkeypatch.setattr(setproctitle, "setproctitle", titles.append)
    words = ["-c", "postgres:postgresql://me:s3kr1t@h/db", "--demo", "--show-config"]
    monkeypatch.setattr(sys, "argv", ["evcam", *words])
    assert cam(*words).status == 0
    assert titles == ["evcam -c postgres:postgresql://me:**@h/db --demo --show-config"]


def test_celerys_names_are_accepted_in_the_settings_file(cam_shown, config):
    path = config("[celery]\nevents_logfile = '/x.log'\nevents_uid = 1000\nevents_umask = '027'\n")
    found = cam_shown()
    assert found["logfile"] == ('"/x.log"', str(path))
    assert found["uid"] == ("1000", str(path))
    assert found["umask"][0] == str(0o027)


# --- alerts -----------------------------------------------------------------------------


def test_each_on_begins_an_alert_and_the_options_after_it_are_its_own(config):
    path = config('[alert.slow]\nview = "tasks"\nfilter = "runtime>1h"\nrun = ["page", "-x y"]\n')
    typed = (
        "--on", "state:failure name:mail.*", "--run", "sh -c 'echo $1'", "--over", "10s",
        "--count", "3", "--on", "state:failure name:mail.*", "--cooldown", "1h", "--first-seen",
        "--webhook", "https://u:p@h/s3kr1t", "--headers", "X-A=b", "--run", "a", "--run", "b c",
    )  # fmt: skip
    rules = {rule.name: rule for rule in build_options(context(*typed)).alerts}
    assert list(rules) == ["slow", "state-failure-name-mail", "state-failure-name-mail-2"]
    assert rules["slow"].run == (("page", "-x y"),)
    assert rules["slow"].place == f"{path}: alert.slow"
    first, second = list(rules.values())[1:]
    assert (first.window, first.count, first.group) == ("10s", 3, "failure")
    assert first.run == (("sh", "-c", "echo $1"),)
    assert (second.window, second.count, second.cooldown) == ("5m", 1, 3600.0)
    assert (second.run, second.first_seen) == ((("a",), ("b", "c")), True)
    assert {"p", "s3kr1t", "X-A=b"} <= {*secrets(context(*typed).params)}


def test_show_config_has_alerts_without_their_secrets(config, cam):
    config('[alert.a]\nfilter = "x"\nwebhook = "https://u:s3kr1t@h/T0K3N?k=T0K3N"\n')
    shown = cam(
        "--on", "y", "--webhook", "http://h:1/T0K3N", "--headers", "A=T0K3N", "--show-config"
    )
    assert shown.status == 0
    assert "[alert.a]" in shown.out
    assert 'webhook = ["https://h/**"]' in shown.out
    assert 'webhook = ["http://h:1/**"]  # --on flag' in shown.out
    assert 'headers = "**"  # --on flag' in shown.out
    assert not re.search("T0K3N|s3kr1t", shown.out + shown.err)


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        (["--run", "a", "--on", "x"], "--run is about the --on before it, and there is none"),
        (["--on", "x", "--run", "a", "--count", "2", "--count", "3"], "--count is given twice"),
        (["--on", "state:filed", "--run", "a"], "--on: bad filter at column 7"),
        (["--on", "x", "--run", "a 'b"], "--run: no closing quotation"),
        (["--on", "x", "--run", ""], "--run: must be a command line"),
        (["--on", "x", "--webhook", "ftp://u:s3kr1t@h"], "--webhook: is no URL of HTTP"),
        (["--on", "x", "--over", "2h", "--run", "a"], "--over: must be a time of up to 1h00m"),
        (["--on", "x", "--count", "many", "--run", "a"], "--count: must be a whole number"),
        (["--on", "x", "--view", "tasks", "--first-seen", "--run", "a"], "--first-seen: is about"),
        (["--on", "x", "--group", "row", "--run", "a"], '--group: events have no group "row"'),
        (["--on", "x", "--headers", "A=b", "--run", "a"], "--headers: are those of a webhook"),
        (["--on", "x", "--hook-timeout", "0", "--run", "a"], "--hook-timeout: must be above 0"),
        (["--on", "x"], "no camera given"),
        (["--on", "x", "--run", "a", "--once"], "--once and --test are about a camera"),
    ],
)
def test_a_mistake_in_an_alert_is_one_line_and_status_2(cam, typed, words):
    ended = cam(*typed)
    assert ended.status == 2
    assert ended.err.startswith(f"evcam: {words}")
    assert "s3kr1t" not in ended.err


def test_a_mistake_in_the_settings_file_is_named_with_its_line(cam, config):
    path = config('[alert.a]\nfilter = "x"\n\nwebhook = "h"\n')
    ended = cam("-c", "jsonl")
    assert ended.status == 78
    assert ended.err.startswith(f"evcam: {path}: alert.a.webhook: is no URL of HTTP (line 4)")
