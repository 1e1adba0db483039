"""The .deb or the .rpm in a root file system: installed, run as its unit says, upgraded, removed.

SMOKE_ROOT is a copy of that file system, which is forgotten afterwards, and PACKAGE says which of
the two; see scripts/rootfs.sh.
"""

from __future__ import annotations

import configparser
import contextlib
import os
import shutil
import socket
import sqlite3
import subprocess
from pathlib import Path

import pytest

from evtools import __version__
from servers.process import Process, program, wait_until
from tools.daemon import facts
from tools.frozen import TOOLS, Place, install, only
from tools.ledgers import contents

ROOT = Path(os.environ["SMOKE_ROOT"])
KIND = os.environ["PACKAGE"]
DIST = Path(__file__).resolve().parents[2] / os.environ.get("SMOKE_DIST", "dist")

UNIT = "usr/lib/systemd/system/evcam.service"
SETTINGS = ROOT / "etc/xdg/evtools/evtools.toml"
#: What makes users and folders where there is no systemd.
SYSTEMD = ("systemd-sysusers", "systemd-tmpfiles")
#: What a machine keeps of every package and user that it ever had, and what is of these tests.
KEPT = (
    *("etc/passwd", "etc/group", "etc/shadow", "etc/gshadow", "etc/subuid", "etc/subgid"),
    *("var/lib/dpkg", "var/lib/rpm", "var/log", "var/lib/systemd", "run/systemd", "opt", "tmp"),
)


@pytest.fixture(scope="module")
def place():
    """The root file system, and a folder in it."""
    return Place(ROOT, ROOT / "opt/packages")


@pytest.fixture(scope="module")
def packages(place, tmp_path_factory):
    """Two packages: what an older version was, and the one to try."""
    new = only(DIST, f"*.{KIND}")
    if KIND == "rpm":  # Nothing here makes one of another; it takes the place of itself.
        return new, new
    folder = tmp_path_factory.mktemp("older")
    tree, old = folder / "tree", folder / "evtools_0.0.1.deb"
    subprocess.run(["dpkg-deb", "--raw-extract", new, tree], check=True)
    control = tree / "DEBIAN/control"
    text = control.read_text()
    assert f"\nVersion: {__version__}\n" in text
    control.write_text(text.replace(f"\nVersion: {__version__}\n", "\nVersion: 0.0.1\n"))
    (tree / "usr/lib/evtools/old").write_text("It is gone in the new version.\n")
    subprocess.run(["dpkg-deb", "-Znone", "--root-owner-group", "-b", tree, old], check=True)
    return old, new


def files():
    """Return what is in the root file system but for what every machine keeps."""
    found = set()
    for folder, folders, names in os.walk(ROOT):
        where = Path(folder).relative_to(ROOT)
        folders[:] = [
            name
            for name in folders
            if str(where / name) not in KEPT and not Path(folder, name).is_mount()
        ]
        # Folders that on Red Hat's systems belong to the file system stay after an rpm.
        found |= {str(where / name) for name in (names if KIND == "rpm" else folders + names)}
    return found.difference(KEPT, {f"{name}-" for name in KEPT})


@pytest.fixture
def without_systemd():
    """Hide what of systemd packages use, as if there were none."""
    found = [path for name in SYSTEMD for path in ROOT.glob(f"usr/bin/{name}")]
    assert len(found) == len(SYSTEMD)
    for path in found:
        path.rename(path.with_suffix(".hidden"))
    yield
    for path in found:
        path.with_suffix(".hidden").rename(path)


class Service:
    """Run what a unit says as systemd would, as far as a root file system without it can."""

    def __init__(self, folder, url):
        self.ready = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.ready.bind(f"\0evtools-{os.getpid()}-{folder.name}")
        self.ready.settimeout(40)
        unit = configparser.ConfigParser(interpolation=None, strict=False)
        unit.optionxform = str
        unit.read(ROOT / UNIT)
        said = unit["Service"]
        self.home = ROOT / said["WorkingDirectory"].lstrip("/")
        passwd = [line.split(":") for line in (ROOT / "etc/passwd").read_text().splitlines()]
        (self.user,) = [(int(uid), int(gid)) for name, _, uid, gid, *_ in passwd
                        if name == said["User"]]  # fmt: skip
        # As the manual has it: for root alone, and a copy for the service.
        name, _, path = said["LoadCredential"].partition(":")
        given = ROOT / path.lstrip("/")
        given.write_text(url)
        given.chmod(0o600)
        credentials = ROOT / "run/credentials"
        credentials.mkdir(exist_ok=True)
        shutil.copy(given, credentials / name)
        for each in (credentials, credentials / name):
            os.chown(each, *self.user)
        line = f"umask {said['UMask']}; cd {said['WorkingDirectory']}; exec {said['ExecStart']}"
        uid, gid = self.user
        env = {
            "PATH": "/usr/sbin:/usr/bin",
            "CREDENTIALS_DIRECTORY": "/run/credentials",
            "NOTIFY_SOCKET": f"@evtools-{os.getpid()}-{folder.name}",
            "HOME": said["WorkingDirectory"],
        }
        self.process = Process(
            [program("chroot", "/usr/sbin"), f"--userspec={uid}:{gid}", "--groups=", str(ROOT),
             "/bin/sh", "-c", line],
            log=folder / "evcam.log",
            env=env,
        )  # fmt: skip

    def start(self):
        """Start it, and return when it has said that it is ready."""
        self.process.start()
        try:
            while b"READY=1" not in self.ready.recv(4096).split(b"\n"):
                pass
        except TimeoutError:
            raise AssertionError(self.process.log_tail()) from None
        assert facts(self.process.pid)["Uid"].split() == [str(self.user[0])] * 4

    def wait_task(self, uuid, state="SUCCESS"):
        """Wait until the database says how a task has ended."""

        def ended():
            try:
                rows = contents(self.home / "tasks.db")["tasks"]
            except sqlite3.OperationalError:  # before the first snapshot
                return False
            return [row["state"] for row in rows if row["uuid"] == uuid] == [state]

        wait_until(ended, deadline=30, what=lambda: f"{uuid}: {self.process.log_tail()}")


@pytest.fixture
def service(tmp_path):
    """Return what makes services; they end with the test."""
    with contextlib.ExitStack() as stack:

        def make(url):
            made = Service(tmp_path, url)
            stack.callback(made.ready.close)
            stack.callback(made.process.kill)
            return made

        yield make


def remove(place, *, purge=False):
    """Remove the package; `purge` what it leaves as well."""
    if KIND == "rpm":
        assert not purge
        done = subprocess.run(
            [program("rpm"), "--root", ROOT, "--erase", "evtools"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
    else:
        done = place.run("/usr/bin/dpkg", "--purge" if purge else "--remove", "evtools")
    assert done.returncode == 0, done.stderr


@pytest.mark.timeout(240)
@pytest.mark.parametrize("manager", ["systemd", "no systemd"])
def test_a_package_brings_a_service_and_takes_all_away(
    request, place, packages, service, celery_worker, manager
):
    if manager == "no systemd":
        request.getfixturevalue("without_systemd")
    old, new = packages
    before = files()
    done = install(place, old)
    assert done.returncode == 0, done.stderr
    assert "warning" not in done.stderr
    for tool in TOOLS:
        assert place.run(f"/usr/bin/{tool}", "-V").stdout == f"{tool} {__version__}\n"
    checked = place.run("/usr/bin/systemd-analyze", "verify", "--man=no", f"/{UNIT}")
    ours = [line for line in checked.stderr.splitlines() if "evcam" in line]
    # That of Debian 11 verifies nothing where it is in no control group.
    if "Cannot determine cgroup" not in checked.stderr:
        assert (checked.returncode, ours) == (0, []), checked.stderr

    # An administrator names what evcam is to watch, and starts it.
    mine = f'event_exchange = "{celery_worker.event_exchange}"\n[evcam]\nfreq = "200ms"\n'
    SETTINGS.write_text(mine)
    send = celery_worker.app.send_task
    evcam = service(celery_worker.broker_url)
    evcam.start()
    first = send("cluster.add", args=(2, 3)).id
    evcam.wait_task(first)
    assert (evcam.home / "tasks.db").stat().st_mode & 0o7777 == 0o640

    # It goes on with the old program while that is replaced, and then with the new one.
    done = install(place, new)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert not (ROOT / "usr/lib/evtools/old").exists()
    assert SETTINGS.read_text() == mine
    second = send("cluster.add", args=(2, 3)).id
    evcam.wait_task(second)
    assert evcam.process.stop() == 0
    evcam.start()
    third = send("cluster.fail").id
    evcam.wait_task(third, "FAILURE")
    evcam.wait_task(first)
    recorded = ("-o", "json", "-r", "sqlite:/var/lib/evcam/tasks.db")
    shown = place.run("/usr/bin/evtop", "-B", "--view", "tasks", *recorded)
    assert shown.returncode == 0, shown.stderr
    assert all(uuid in shown.stdout for uuid in (first, second, third))
    assert evcam.process.stop() == 0

    (ROOT / "etc/evtools/broker_url").unlink()
    shutil.rmtree(ROOT / "run/credentials")
    remove(place)
    left = files() - before
    assert [name for name in left if name.startswith("usr/")] == []
    assert {"var/lib/evcam/tasks.db"} <= left
    if KIND == "rpm":  # which has no purge
        saved = SETTINGS.with_name("evtools.toml.rpmsave")
        assert saved.read_text() == mine
        saved.unlink()
        shutil.rmtree(evcam.home)
    else:
        assert SETTINGS.read_text() == mine
        remove(place, purge=True)
    assert files() == before
