import logging

import pytest

from evtools.cam.options import MAX_SPEED, CamOptions
from evtools.cli.cam_command import evcam
from evtools.cli.camming import cam_options, cam_settings, secrets
from evtools.cli.moment import LocalZone
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
        return cam_options(context("-c", "mod.Camera", *arguments))

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


def test_the_options_of_one_period_reach_theirs(options):
    assert options("--once").once
    assert options("--test").test
    assert options("--frequency", "2").freq == 2.0


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
    made = cam_options(context("--camera-option", "keep=7d"))
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
        (("-d", "-f", "/dev/stdout"), "--detach needs a log file that lasts"),
        (("--read", "x", "--queue", "q"), "--read and --queue exclude each other"),
        (("--speed", "2x"), "--speed means nothing without --read"),
        (("-r", "often"), '"often" is no rate'),
    ],
)
def test_what_makes_no_sense_is_refused(options, arguments, words):
    with pytest.raises(UsageError, match=words):
        options(*arguments)


def test_without_a_camera_there_is_nothing_to_run(context):
    with pytest.raises(UsageError, match="there is no camera"):
        cam_options(context())
    with pytest.raises(UsageError, match="there is no camera"):
        cam_options(context("check"))


@pytest.mark.parametrize("errand", ["status", "stop"])
def test_who_only_asks_needs_no_camera_and_no_broker(context, errand):
    ctx = context(errand, "-b", "sqs://x", "--pidfile", "x.pid", "-r", "often")
    assert cam_options(ctx).pidfile == "x.pid"
    assert cam_settings(ctx).urls == "sqs://x"


def test_a_broker_that_carries_no_events_is_refused(context):
    with pytest.raises(UsageError, match="SQS is not supported"):
        cam_settings(context("-c", "m.C", "-b", "sqs://x"))
    assert cam_settings(context("-c", "m.C", "-b", "sqs://x", "--demo"))


def test_a_queue_of_several_is_a_connection_setting(context):
    ctx = context("-c", "m.C", "-b", "amqp://h", "--queue", "evcam")
    assert cam_settings(ctx).event_queue == "evcam"


def test_what_a_camera_is_given_may_be_secret(context):
    ctx = context(
        *("-c", "postgres:postgresql://me:one@h/db"),
        *("--camera-option", "password=two", "--camera-option", "url=x://u:three@h"),
        *("--camera-option", "keep=30d", "--camera-option", "plain=x://h/db"),
    )
    assert set(secrets(ctx.params)) == {"one", "two", "three"}
