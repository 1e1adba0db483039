"""The standalone evcam that root has started, and that runs as another user."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import signal
import tempfile
from pathlib import Path

import pytest

from servers.process import wait_until
from tools.daemon import facts, is_there
from tools.frozen import FORMS, Place, Program

# What it imports lies where root has unpacked the program, for itself alone.
CAMERA = """
import json, os, sys
from evtools import Polaroid

class Camera(Polaroid):
    def on_shutter(self, state):
        if os.path.exists("shot"):
            return
        new = {"xml", "zoneinfo"}.difference(sys.modules)
        import asyncio, ctypes, sqlite3, zoneinfo
        import xml.etree.ElementTree as xml
        shot = {
            "user": os.getresuid(),
            "new": sorted(new),
            "sqlite3": sqlite3.connect(":memory:").execute("SELECT 6 * 7").fetchone(),
            "asyncio": asyncio.run(asyncio.sleep(0, "slept")),
            "ctypes": ctypes.CDLL(None).abs(-7),
            "xml": xml.fromstring("<a><b/></a>")[0].tag,
            "zoneinfo": str(zoneinfo.ZoneInfo("UTC")),
        }
        with open("shot.new", "w") as file:
            json.dump(shot, file)
        os.rename("shot.new", "shot")
"""

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")


@pytest.fixture(params=FORMS)
def program(request, place, dist):
    """Each form in turn, where every user can get at it: ours may be for us alone."""
    inside = (place.root or Path("/")) / "tmp"
    folder = Path(tempfile.mkdtemp(prefix="smoke-", dir=inside))
    folder.chmod(0o755)
    yield Program(request.param, Place(place.root, folder), dist)
    shutil.rmtree(folder)


@pytest.fixture
def pidfile(program):
    """Where evcam writes its number; it is ended, however the test went."""
    path = program.place.outside / "pid"
    yield path
    number = int(path.read_text() or 0) if path.exists() else 0
    if is_there(number):
        os.kill(number, signal.SIGKILL)


def test_the_camera_imports_what_it_needs_when_it_is_another_user(program, pidfile, redis_url):
    nobody = pwd.getpwnam("nobody")
    cameras, shots = (program.place.outside / name for name in ("cameras", "shots"))
    for folder in (cameras, shots):
        folder.mkdir()
    (cameras / "late_camera.py").write_text(CAMERA)
    os.chown(shots, nobody.pw_uid, nobody.pw_gid)
    seen = program.place.seen
    done = program.run(
        *("evcam", "--detach", "--uid", "nobody", "-b", redis_url, "-F", "0.2"),
        *("-c", "late_camera.Camera", "--pythonpath", seen(cameras)),
        *("--workdir", seen(shots), "--pidfile", seen(pidfile)),
        *("--logfile", seen(cameras / "log")),
    )
    assert done.returncode == 0, done.stderr
    number = int(pidfile.read_text())
    wait_until(
        (shots / "shot").exists,
        what=lambda: f"the first shot; the log:\n{(cameras / 'log').read_text()}",
    )
    uid = nobody.pw_uid
    assert facts(number)["Uid"].split() == [str(uid)] * 4
    assert json.loads((shots / "shot").read_text()) == {
        "user": [uid] * 3,
        "new": ["xml", "zoneinfo"],
        "sqlite3": [42],
        "asyncio": "slept",
        "ctypes": 7,
        "xml": "b",
        "zoneinfo": "UTC",
    }
    stopped = program.run("evcam", "stop", "--pidfile", seen(pidfile))
    assert stopped.returncode == 0, stopped.stderr
    wait_until(
        lambda: not program.left_behind(),
        what=lambda: f"a clean temporary folder: {program.left_behind()}",
    )
    assert not is_there(number)
