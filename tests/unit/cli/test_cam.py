import json
import logging
import re
import sys
from pathlib import Path

import pytest

from evtools.cam.options import BUILT_IN, COMMANDS, MAX_SPEED, CamOptions
from evtools.cli.cam import build_options, connection_settings, evcam, secrets
from evtools.cli.types import LocalZone
from evtools.errors import UsageError


@pytest.fixture
def context():
    def make(*arguments):
        return evcam.make_context("evcam", list(arguments))

    return make


@pytest.fixture
def options(context):
    """Return the options of a command line that names a camera."""

    def make(*arguments):
        return build_options(context("-c", "mod.Camera", *arguments))

    return make


def test_without_options_all_is_as_the_defaults_have_it(options):
    made = options()
    assert isinstance(made.zone, LocalZone)
    assert made == CamOptions(camera="mod.Camera", zone=made.zone)


def test_every_option_reaches_its_field(options):
    made = options(
        *("-F", "500ms", "-r", "10/m", "-d", "--cleanup-freq", "0", "--warm-up", "5s"),
        *("--camera-option", "keep=30d", "--camera-option", "url=a=b"),
        *("--pythonpath", "/a", "--pythonpath", "/b", "--allow-insecure-camera"),
        *("--max-failures", "3", "--pidfile", "x.pid", "--uid", "nobody"),
        *("--gid", "7", "--umask", "027", "--workdir", "/w", "--executable", "py"),
        *("--ready-timeout", "1m", "--shutdown-timeout", "5", "--listen", ":9808"),
        *("-f", "x.log", "-l", "debug", "--log-format", "json", "--demo", "-q"),
        *("--filter", "a", "--filter", "b", "--max-tasks", "10"),
        *("--max-memory", "1M", "--redact", "token"),
    )
    assert made == CamOptions(
        camera="mod.Camera",
        camera_options={"keep": "30d", "url": "a=b"},
        pythonpath=("/a", "/b"),
        allow_insecure_camera=True,
        freq=0.5,
        maxrate="10/m",
        cleanup_freq=0.0,
        warm_up=5.0,
        max_failures=3,
        filters=("a", "b"),
        zone=made.zone,
        redact=("token",),
        max_tasks=10,
        max_memory=2**20,
        demo=True,
        detach=True,
        executable="py",
        pidfile="x.pid",
        uid="nobody",
        gid="7",
        umask=0o027,
        workdir="/w",
        ready_timeout=60.0,
        shutdown_timeout=5.0,
        logfile="x.log",
        loglevel=logging.DEBUG,
        log_format="json",
        listen=":9808",
        quiet=True,
    )


def test_a_recording_is_read_as_fast_as_can_be(options):
    assert options("--read", "x.jsonl").speed == MAX_SPEED
    assert options("--read", "x.jsonl", "--speed", "10x").speed == 10.0
    assert options("--read", "x.jsonl").read == ("x.jsonl",)


@pytest.mark.parametrize(
    ("arguments", "level"),
    [
        ((), logging.INFO),
        (("-q",), logging.WARNING),
        (("-v",), logging.DEBUG),
        (("--debug",), logging.DEBUG),
        (("-q", "-l", "INFO"), logging.INFO),
        (("-l", "FATAL"), logging.CRITICAL),
    ],
)
def test_the_level_is_celerys_or_what_quiet_and_verbose_make_of_it(options, arguments, level):
    assert options(*arguments).loglevel == level


def test_the_settings_file_may_have_numbers_and_a_table(context, config):
    config(
        "[evcam]\ncamera = 'm.C'\nuid = 1000\ngid = 7\numask = 0o022\nmaxrate = 5\n"
        "pythonpath = '/a'\nfilter = ['a', 'b']\n[evcam.camera_option]\nkeep = 30\n"
        "vacuum = true\n"
    )
    made = build_options(context("--camera-option", "keep=7d"))
    assert (made.uid, made.gid, made.umask, made.maxrate) == ("1000", "7", 18, "5")
    assert (made.pythonpath, made.filters) == (("/a",), ("a", "b"))
    # A flag beats the same option of the file, and leaves the others.
    assert made.camera_options == {"keep": "7d", "vacuum": True}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--read", "x", "--demo"), "--read and --demo exclude each other"),
        (("-d", "--once"), "--detach excludes --once and --test"),
        (("-d", "--test"), "--detach excludes --once and --test"),
        (("-d", "--read", "-"), "--detach and --read - exclude each other"),
        (("-d", "-f", "/dev/stdout"), "--detach needs a regular log file"),
        (("--read", "x", "--queue", "q"), "--read and --queue exclude each other"),
        (("--speed", "2x"), "--speed requires --read"),
        (("-r", "often"), 'invalid rate "often"'),
    ],
)
def test_what_makes_no_sense_is_refused(options, arguments, words):
    with pytest.raises(UsageError, match=words):
        options(*arguments)


def test_without_a_camera_there_is_nothing_to_run(context):
    with pytest.raises(UsageError, match="no camera given"):
        build_options(context())
    with pytest.raises(UsageError, match="no camera given"):
        build_options(context("check"))


@pytest.mark.parametrize("errand", ["status", "stop"])
def test_who_only_asks_needs_no_camera_and_no_broker(context, errand):
    ctx = context(errand, "-b", "sqs://x", "--pidfile", "x.pid", "-r", "often")
    assert build_options(ctx).pidfile == "x.pid"
    assert connection_settings(ctx).urls == "sqs://x"


def test_a_broker_that_carries_no_events_is_refused(context):
    with pytest.raises(UsageError, match="SQS is not supported"):
        connection_settings(context("-c", "m.C", "-b", "sqs://x"))
    assert connection_settings(context("-c", "m.C", "-b", "sqs://x", "--demo"))


def test_a_queue_of_several_is_a_connection_setting(context):
    ctx = context("-c", "m.C", "-b", "amqp://h", "--queue", "evcam")
    assert connection_settings(ctx).event_queue == "evcam"


def test_what_a_camera_is_given_may_be_secret(context):
    ctx = context(
        *("-c", "postgres:postgresql://me:one@h/db"),
        *("--camera-option", "password=two", "--camera-option", "url=x://u:three@h"),
        *("--camera-option", "keep=30d", "--camera-option", "plain=x://h/db"),
    )
    assert set(secrets(ctx.params)) == {"one", "two", "three"}


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


def test_the_help_names_every_camera_and_errand():
    text = GOLDEN.read_text()
    assert all(re.search(rf"\b{name}\b", text) for name in (*BUILT_IN, *COMMANDS))


@pytest.mark.parametrize(
    ("celerys", "name"),
    [
        *(("-c", "camera"), ("--camera", "camera"), ("-d", "detach")),
        *(("--detach", "detach"), ("-F", "freq"), ("--frequency", "freq")),
        *(("--freq", "freq"), ("-r", "maxrate"), ("--maxrate", "maxrate")),
        *(("-l", "loglevel"), ("--loglevel", "loglevel"), ("-f", "logfile")),
        *(("--logfile", "logfile"), ("--pidfile", "pidfile"), ("--uid", "uid")),
        *(("--gid", "gid"), ("--umask", "umask"), ("--executable", "executable")),
        *(("--workdir", "workdir"), ("-A", "app"), ("-b", "broker"), ("-q", "quiet")),
    ],
)
def test_celerys_letters_mean_the_same(celerys, name):
    (option,) = [param for param in evcam.params if celerys in param.opts]
    assert option.name == name


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


def test_without_a_camera_it_names_some(cam):
    ended = cam()
    assert ended.status == 2
    assert "evcam: no camera given" in ended.err
    assert all(name in ended.err for name in BUILT_IN)


def test_a_camera_that_is_none_is_one_line(cam):
    ended = cam("-c", "os.path", "--demo")
    assert ended.status == 2
    assert ended.err.startswith("evcam: os.path is not a camera")
    assert "Traceback" not in ended.err


def test_errands_answer_on_stdout(cam, tmp_path):
    ended = cam("status", "--pidfile", "x.pid")
    assert ended.status == 3
    assert ended.out.startswith("evcam is not running: ")
    assert cam("stop", EVCAM_PIDFILE="x.pid").status == 3
    assert cam("--pidfile", "x.pid", "status").status == 3


def test_a_check_is_of_the_camera(cam, camera):
    ended = cam("check", "-c", camera, "--allow-insecure-camera", "--demo")
    assert ended.status == 0, ended.err
    assert ended.out.startswith("camera: ")


def test_an_unknown_errand_is_refused(cam):
    ended = cam("strat")
    assert ended.status == 2
    assert "'strat' is not one of 'status', 'stop', 'check'" in ended.err


def test_no_password_is_shown(cam_shown, config):
    config(
        "[evcam]\ncamera = 'postgres:postgresql://me:s3kr1t@h/db'\n"
        "[evcam.camera_option]\nurl = 'postgresql://me:s3kr1t@h/db'\n"
        "password = 's3kr1t'\nkeep = '30d'\n"
    )
    shown = cam_shown()
    assert shown["camera"][0] == '"postgres:postgresql://**@h/db"'
    assert "s3kr1t" not in shown["camera_option"][0]
    assert 'keep = "30d"' in shown["camera_option"][0]


def test_celerys_names_are_taken_in_the_settings_file(cam_shown, shown, config):
    path = config(
        "[celery]\nevents_logfile = '/x.log'\nevents_pidfile = '/x.pid'\n"
        "events_uid = 1000\nevents_gid = 'adm'\nevents_umask = '027'\n"
        "events_executable = '/usr/bin/python3'\n"
    )
    found = cam_shown()
    assert found["logfile"] == ('"/x.log"', str(path))
    assert found["uid"] == ("1000", str(path))
    assert found["gid"] == ('"adm"', str(path))
    assert found["umask"][0] == str(0o027)
    assert found["executable"][0] == '"/usr/bin/python3"'
    # They say nothing to the others.
    assert "logfile" not in shown()


def test_the_passwords_of_a_camera_are_not_in_the_title(cam, monkeypatch):
    import setproctitle

    titles = []
    monkeypatch.setattr(setproctitle, "setproctitle", titles.append)
    words = ["-c", "postgres:postgresql://me:s3kr1t@h/db", "--demo", "--show-config"]
    monkeypatch.setattr(sys, "argv", ["evcam", *words])
    assert cam(*words).status == 0
    assert titles == ["evcam -c postgres:postgresql://me:**@h/db --demo --show-config"]
