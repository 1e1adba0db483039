import json
import logging
import re
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from evtools.cam.cameras import BUILT_IN
from evtools.cam.choices import ERRANDS
from evtools.cli.cam_command import evcam

GOLDEN = Path(__file__).with_name("help") / "evcam.txt"
CAMERA = """
from evtools.cam.polaroid import Polaroid

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
    assert all(re.search(rf"\b{name}\b", text) for name in (*BUILT_IN, *ERRANDS))


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
    assert "evcam: there is no camera" in ended.err
    assert all(name in ended.err for name in BUILT_IN)


def test_a_camera_that_is_none_is_one_line(cam):
    ended = cam("-c", "os.path", "--demo")
    assert ended.status == 2
    assert ended.err.startswith("evcam: os.path is no camera")
    assert "Traceback" not in ended.err


def test_errands_answer_on_stdout(cam, tmp_path):
    ended = cam("status", "--pidfile", "x.pid")
    assert ended.status == 3
    assert ended.out.startswith("evcam does not run: no process has")
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


def test_click_can_run_it_as_well():
    ended = CliRunner().invoke(evcam, ["--show-config", "-c", "sqlite:x.db"])
    assert ended.exit_code == 0
    assert ended.stdout.startswith("# settings file: none")


def test_settings_are_shown_with_their_origin(cam_shown, config):
    path = config("[evcam]\nmaxrate = '10/m'\ncamera = 'sqlite:x.db'\n")
    shown = cam_shown(EVCAM_PIDFILE="x.pid", EVTOOLS_READ_ONLY="1")
    assert shown["maxrate"] == ('"10/m"', f"{path} [evcam]")
    assert shown["pidfile"] == ('"x.pid"', "EVCAM_PIDFILE")
    assert shown["read_only"] == ("true", "EVTOOLS_READ_ONLY")


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


def test_pickles_are_warned_of(cam):
    ended = cam("-c", "none.Camera", "--demo", "--accept", "pickle")
    assert "evcam: warning: pickled events are decoded" in ended.err


def test_a_settings_file_that_others_can_read_is_warned_of(cam, config):
    config("broker = 'redis://:pw@h'", mode=0o644)
    assert "holds a password" in cam("status", "--pidfile", "x.pid").err


def test_the_passwords_of_a_camera_are_not_in_the_title(cam, monkeypatch):
    import setproctitle

    titles = []
    monkeypatch.setattr(setproctitle, "setproctitle", titles.append)
    words = ["-c", "postgres:postgresql://me:s3kr1t@h/db", "--demo", "--show-config"]
    monkeypatch.setattr(sys, "argv", ["evcam", *words])
    assert cam(*words).status == 0
    assert titles == ["evcam -c postgres:postgresql://me:**@h/db --demo --show-config"]
