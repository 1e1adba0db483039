"""evcam as a daemon: detached, as another user, under logrotate and systemd."""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from evtools.cam.daemon import control
from evtools.cam.options import CamOptions
from servers.process import wait_until
from tools.daemon import Daemon, EvcamStarter, facts, is_there
from tools.site import Site
from tools.systemd import NotifySocket

NOBODY = pwd.getpwnam("nobody")
CAMERAS = '''
import logging, os, time
from evtools.cam.camera import Camera as Quick
from evtools.cam.camera import Polaroid

log = logging.getLogger("mod")

class Camera(Polaroid):
    """Tell of each shot, and before the first of ways back to root and what systemd told."""

    shots = 0

    def on_shutter(self, state):
        if not self.shots:
            log.info("ways back: %s", ways_back())
            names = [n for n in os.environ if "NOTIFY" in n or "WATCHDOG" in n]
            log.info("variables: %s", names)
        self.shots += 1
        log.info("shot %d of %d events", self.shots, state.event_count)

def ways_back():
    tries = {
        "setuid": lambda: os.setuid(0), "seteuid": lambda: os.seteuid(0),
        "setgid": lambda: os.setgid(0), "setgroups": lambda: os.setgroups([0]),
        "shadow": lambda: open("/etc/shadow").close(),
        "kill": lambda: os.kill(1, 0),
    }
    found = []
    for name, attempt in tries.items():
        try:
            attempt()
        except PermissionError:
            continue
        found.append(name)
    return found

class Misnamed(Polaroid):
    def shutter(self, state):
        log.info("never")

class Hanging(Polaroid):
    def on_shutter(self, state):
        log.info("hanging")
        time.sleep(60)

class Freezing(Quick):
    """Hold up the main thread, not that of the camera, when a file says so."""

    def observe(self, changes):
        while os.path.exists("freeze"):
            time.sleep(0.01)

    def snapshot(self, info):
        return info

    def write(self, snapshot):
        log.info("shot %d", snapshot.sequence)
'''

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")


@pytest.fixture
def folder():
    """A folder that every user can enter; those of pytest are for root alone."""
    path = Path(tempfile.mkdtemp(prefix="evcam-"))
    path.chmod(0o755)
    (path / "mod.py").write_text(CAMERAS)
    yield path
    shutil.rmtree(path)


@pytest.fixture
def daemon(folder):
    started = Daemon(folder)
    yield started
    started.end()


@pytest.fixture
def evcam(folder):
    """Start evcam in the foreground."""
    starter = EvcamStarter(folder)
    yield starter
    starter.end()


def camera(name="Camera"):
    # /tmp, where everybody may make folders, belongs to root; mod.py does, too.
    return ("-c", f"mod.{name}")


# --- another user -------------------------------------------------------------------


def test_as_another_user_there_is_no_way_back(daemon, broker_url, event_exchange, sender):
    ended = daemon.start(
        *camera(),
        *("-b", broker_url, "--event-exchange", event_exchange, "--uid", "nobody"),
        *("--maxrate=10/m", "-F", "0.2", "--no-wakeup"),
    )
    assert ended.status == 0, ended.err
    assert ended.out == ""
    number = daemon.number
    assert ended.err == f"evcam: runs as process {number}; its log: {daemon.logfile}\n"
    told = facts(number)
    uid, gid = NOBODY.pw_uid, NOBODY.pw_gid
    assert told["Uid"] == " ".join([str(uid)] * 4)
    assert told["Gid"] == " ".join([str(gid)] * 4)
    assert set(map(int, told["Groups"].split())) <= {gid}
    for kind in ("CapPrm", "CapEff", "CapAmb"):
        assert int(told[kind], 16) == 0
    # A session of its own, without a terminal.
    assert os.getsid(number) == number
    sender(broker_url, event_exchange).send(number=1)
    daemon.wait_log("of 1 events")
    assert "ways back: []" in daemon.log

    # What the user could not make, root has made: the log was given away, the
    # pidfile was not, as whoever writes that decides whom `stop` ends.
    assert (daemon.logfile.stat().st_uid, daemon.logfile.stat().st_gid) == (uid, gid)
    assert daemon.logfile.stat().st_mode & 0o007 == 0
    assert daemon.pidfile.stat().st_uid == 0
    assert daemon.pidfile.read_text() == f"{number}\n"

    stopped = daemon.stop()
    assert stopped == (0, f"evcam, process {number}, has ended\n", "")
    assert not is_there(number)


def test_in_a_folder_of_its_own_everything_is_the_users(daemon, folder, redis_url):
    os.chown(folder, NOBODY.pw_uid, NOBODY.pw_gid)
    words = (*camera(), "-b", redis_url, "--uid", "nobody", "--umask", "027")
    assert daemon.start(*words).status == 0
    for path in (daemon.logfile, daemon.pidfile):
        assert path.stat().st_uid == NOBODY.pw_uid
        assert path.stat().st_mode & 0o027 == 0
    options = CamOptions(pidfile=str(daemon.pidfile))
    assert as_nobody(lambda: control("status", options)) == 0
    assert as_nobody(lambda: control("stop", options)) == 0
    assert not daemon.pidfile.exists()


def as_nobody(function):
    """Return the exit status of a function that a process of nobody's calls."""
    child = os.fork()
    if child == 0:
        status = 99
        try:
            os.setgroups([])
            os.setgid(NOBODY.pw_gid)
            os.setuid(NOBODY.pw_uid)
            status, _ = function()
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_root_is_not_led_astray_by_links(daemon, folder, redis_url, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("root's")
    os.chown(folder, NOBODY.pw_uid, NOBODY.pw_gid)
    daemon.logfile.symlink_to(secret)
    words = (*camera(), "-b", redis_url, "--uid", "nobody")
    ended = daemon.start(*words)
    assert ended.status == 73
    assert f"cannot write {daemon.logfile}" in ended.err
    daemon.logfile.unlink()
    daemon.pidfile.symlink_to(secret)
    assert daemon.start(*words).status == 73
    assert secret.read_text() == "root's"
    assert secret.stat().st_uid == 0


#: All the locks that one can have who may only read a file.
LOCK_TO_READ = f"""
import fcntl, os, struct, sys
os.setgroups([])
os.setgid({NOBODY.pw_gid})
os.setuid({NOBODY.pw_uid})
file = os.open(sys.argv[1], os.O_RDONLY)
fcntl.flock(file, fcntl.LOCK_EX)
lock = struct.pack("hhqqi", fcntl.F_RDLCK, 0, 0, 0, 0)
fcntl.fcntl(file, fcntl.F_OFD_SETLK, lock)
print("locked", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def lock_as_nobody():
    """Lock a file as a user who may only read it, until the test is over."""
    with contextlib.ExitStack() as stack:

        def lock(path):
            process = subprocess.Popen(
                [sys.executable, "-c", LOCK_TO_READ, path],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
            )
            stack.enter_context(process)
            stack.callback(process.kill)
            assert process.stdout.readline() == b"locked\n"

        yield lock


@pytest.mark.parametrize("name", ["evcam.pid", "theirs/evcam.pid", "theirs/run/pid"])
def test_root_stops_no_process_that_others_chose(daemon, folder, lock_as_nobody, name):
    # Of a daemon of root's, readable as usual, and locked by somebody else.
    (folder / "run").mkdir()
    theirs = folder / "theirs"
    theirs.mkdir()
    os.chown(theirs, NOBODY.pw_uid, NOBODY.pw_gid)
    for link in ("evcam.pid", "run"):
        (theirs / link).symlink_to(folder / link)
        os.lchown(theirs / link, NOBODY.pw_uid, NOBODY.pw_gid)
    with subprocess.Popen(["sleep", "50"]) as victim:
        try:
            for file in (folder / "evcam.pid", folder / "run" / "pid"):
                file.write_text(f"{victim.pid}\n")
                lock_as_nobody(file)
            stopped = daemon.run("stop", "--pidfile", folder / name)
            status = daemon.run("status", "--pidfile", folder / name)
            assert victim.poll() is None, stopped
        finally:
            victim.kill()
    assert stopped.status != 0
    assert status.status != 0


def test_one_evcam_has_a_pidfile_and_no_lock_of_somebody_who_reads_it_hinders_that(
    daemon, redis_url, lock_as_nobody
):
    daemon.pidfile.write_text("1\n")
    lock_as_nobody(daemon.pidfile)
    words = (*camera(), "-b", redis_url, "--uid", "nobody")
    assert daemon.start(*words).status == 0
    number = daemon.number
    second = daemon.start(*words)
    assert second.status == 73
    assert f"evcam is already running: process {number} has locked {daemon.pidfile}" in second.err
    status = daemon.run("status", "--pidfile", daemon.pidfile)
    assert status == (0, f"evcam runs, process {number}\n", "")
    assert daemon.stop().status == 0
    assert daemon.stop().status == 3


def test_root_makes_nothing_where_a_link_of_the_user_leads(daemon, folder, redis_url):
    rootonly, home = folder / "rootonly", folder / "home"
    for each in (rootonly, home):
        each.mkdir()
    os.chown(home, NOBODY.pw_uid, NOBODY.pw_gid)
    (home / "log").symlink_to(rootonly)
    os.lchown(home / "log", NOBODY.pw_uid, NOBODY.pw_gid)
    words = ("--detach", *camera(), "-b", redis_url)
    log, uid = ("--logfile", folder / "evcam.log"), ("--uid", "nobody")
    cases = (
        ("--logfile", home / "log" / "evcam.log", *uid),
        (*log, "--pidfile", home / "log" / "evcam.pid", *uid),
        ("--workdir", home / "log", "--logfile", "evcam.log", *uid),
        ("--logfile", home / "log" / "evcam.log"),
        (*log, "--pidfile", home / "log" / "evcam.pid"),
    )
    for case in cases:
        ended = daemon.run(*words, "--pythonpath", folder, *case)
        assert ended.status == 73, ended
        assert f"root does not follow the link {home}/log" in ended.err
        assert list(rootonly.iterdir()) == []


@pytest.mark.parametrize(
    "name", ["jsonl:{}/shots.jsonl", "sqlite:{}/shots.db", "prometheus:{}/shots.prom"]
)
def test_cameras_of_root_write_nothing_there_either(daemon, folder, name):
    rootonly, home = folder / "rootonly", folder / "home"
    for each in (rootonly, home):
        each.mkdir()
    os.chown(home, NOBODY.pw_uid, NOBODY.pw_gid)
    (home / "log").symlink_to(rootonly)
    os.lchown(home / "log", NOBODY.pw_uid, NOBODY.pw_gid)
    ended = daemon.run("-c", name.format(home / "log"), "--demo", "--once")
    assert ended.status == 73, ended
    assert f"root does not follow the link {home}/log" in ended.err
    assert list(rootonly.iterdir()) == []


def test_root_keeps_no_database_where_others_can_change_the_way(daemon, folder):
    # SQLite opens files by name at any time: what was looked at may be another by then.
    home = folder / "home"
    home.mkdir()
    os.chown(home, NOBODY.pw_uid, NOBODY.pw_gid)
    words = ("-c", f"sqlite:{home}/shots.db", "--demo", "--once")
    ended = daemon.run(*words)
    assert ended.status == 73, ended
    assert f"others than root can write {home}\n" in ended.err
    assert "(--uid)" in ended.err
    assert list(home.iterdir()) == []
    assert daemon.run(*words, "--uid", "nobody").status == 0
    assert (home / "shots.db").owner() == "nobody"


@pytest.mark.parametrize(
    "words",
    [("-c", "jsonl", "--logfile", "{}"), ("-c", "jsonl", "--pidfile", "{}"), ("-c", "jsonl:{}")],
)
def test_root_waits_for_no_pipe_that_others_have_put_there(daemon, folder, words):
    pipe = folder / "home" / "pipe"
    pipe.parent.mkdir()
    os.mkfifo(pipe)
    for each in (pipe, pipe.parent):
        os.chown(each, NOBODY.pw_uid, NOBODY.pw_gid)
    ended = daemon.run(*(word.format(pipe) for word in words), "--demo", "--once")
    assert ended.status
    assert f"cannot write {pipe}: it is no plain file" in ended.err


def test_root_loads_no_camera_that_others_can_write(daemon, folder, redis_url):
    os.chown(folder / "mod.py", NOBODY.pw_uid, NOBODY.pw_gid)
    words = (*camera(), "-b", redis_url)
    ended = daemon.start(*words)
    assert ended.status == 2
    assert "root does not load" in ended.err
    # Its owner does.
    assert daemon.start(*words, "--uid", "nobody").status == 0


@pytest.fixture
def theirs(folder):
    """A folder of nobody's, where a module says who has imported it."""
    path = folder / "theirs"
    path.mkdir()
    text = "import os; print(f'imported as {os.geteuid()}')\n"
    (path / "helper.py").write_text(text)
    (path / "theirapp.py").write_text(f"{text}from celery import Celery\napp = Celery()")
    os.chown(path, NOBODY.pw_uid, NOBODY.pw_gid)
    return path


@pytest.mark.parametrize("where", ["working directory", "--pythonpath", "open file"])
def test_root_imports_nothing_for_its_camera_that_others_can_write(daemon, folder, theirs, where):
    # The camera itself is root's, what it needs is not.
    cameras = folder / "cameras"
    cameras.mkdir()
    (cameras / "mine.py").write_text(f"import helper\n{CAMERAS}")
    words = ["-c", "mine.Camera", "--demo", "--once", "--pythonpath", cameras]
    if where == "working directory":
        words += ["--workdir", theirs]
    elif where == "--pythonpath":
        words += ["--pythonpath", theirs]
    else:
        shutil.copy(theirs / "helper.py", cameras)
        (cameras / "helper.py").chmod(0o666)
    ended = daemon.run(*words)
    assert ended.status == 2
    assert "imported" not in ended.err
    assert re.match(r"evcam: .*root does not load .*/helper.py: others than ", ended.err)
    if where == "working directory":
        ended = daemon.run(*words, "--uid", "nobody")
        assert ended.status == 0
        assert f"imported as {NOBODY.pw_uid}" in ended.err


@pytest.mark.parametrize("tool", ["dump", "top", "cam", "doctor"])
def test_root_imports_no_application_that_others_can_write(theirs, tool):
    words = {"top": ["-B"], "cam": ["-c", "jsonl"]}.get(tool, [])
    ended = subprocess.run(
        [sys.executable, "-m", "evtools", tool, "-A", "theirapp", *words],
        cwd=theirs,
        env={**os.environ, "PYTHONSAFEPATH": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=50,
    )
    assert ended.returncode == 2
    assert "imported" not in ended.stderr
    assert f"root does not load {theirs}/theirapp.py: others than root " in ended.stderr
    assert "give the address with -b URL" in ended.stderr


def test_root_obeys_no_settings_that_others_can_write(daemon, folder, theirs):
    settings = theirs / "evtools" / "evtools.toml"
    settings.parent.mkdir()
    settings.write_text("[evcam]\ncamera = 'helper.Camera'\n")
    os.chown(settings, NOBODY.pw_uid, NOBODY.pw_gid)
    words = ("--demo", "--once", "--pythonpath", theirs)
    ended = daemon.run(*words, "--config", settings)
    assert ended.status == 78
    refusal = f"as root, settings in {settings} are not used: others than root can write"
    assert ended.err.startswith(f"evcam: {refusal}")
    # Where the file is only one of the usual, it is as if it were not there.
    ended = daemon.run(*words, "-c", "jsonl", env={"XDG_CONFIG_HOME": str(theirs)})
    assert ended.status == 0
    assert ended.err.startswith(f"evcam: warning: {refusal}")


def test_who_does_not_exist_is_refused(daemon):
    ended = daemon.start(*camera(), "--demo", "--uid", "54321")
    assert ended.status == 2
    assert ended.err.startswith("evcam: --uid: 54321 has no entry in the password database\n")


# --- starting and ending ------------------------------------------------------------


def test_at_most_so_many_shots_an_hour(daemon, redis_url):
    site = Site()
    words = ("-b", redis_url, "--listen", site.address, "--maxrate=1/h", "-F", "0.1")
    assert daemon.start(*camera(), *words).status == 0
    site.wait_least("evcam_snapshots_total", 5, result="skipped_rate")
    assert re.findall("shot [0-9]+ of", daemon.log) == ["shot 1 of"]
    # The last one, at the end, is not one of them.
    assert daemon.stop().status == 0
    assert re.findall("shot [0-9]+ of", daemon.log) == ["shot 1 of", "shot 2 of"]


def test_a_killed_one_hinders_nobody(daemon, redis_url):
    words = (*camera(), "-b", redis_url, "--uid", "nobody")
    assert daemon.start(*words).status == 0
    first = daemon.number
    daemon.signal(signal.SIGKILL)
    daemon.wait_gone(first)
    assert daemon.pidfile.read_text() == f"{first}\n"
    assert daemon.run("status", "--pidfile", daemon.pidfile).status == 3
    assert daemon.start(*words).status == 0
    assert daemon.number != first


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (camera("Missing"), 2, "there is no Missing in mod"),
        (camera("Misnamed"), 2, "Misnamed.shutter takes (state), and evcam calls shu"),
        ((*camera(), "--workdir", "none"), 2, "--workdir: none: No such file"),
        ((*camera(), "-b", "redis://127.0.0.1:1", "--no-reconnect"), 69, "cannot reac"),
        ((*camera(), "--filter", "nonsense:1"), 2, "bad filter at column"),
        ((*camera(), "--executable", "/no/python"), 2, "cannot start /no/python"),
        ((*camera(), "-f", "none/x.log"), 73, "none/x.log: No such file"),
    ],
)
def test_what_is_wrong_is_told_on_the_terminal(daemon, redis_url, words, status, message):
    where = () if "-b" in words else ("-b", redis_url)
    ended = daemon.start(*where, *words)
    assert ended.status == status
    assert message in ended.err
    said = [line for line in ended.err.splitlines() if line.startswith("evcam: ")]
    assert len([line for line in said if "trying again" not in line]) == 1
    assert "Traceback" not in ended.err
    assert not daemon.pidfile.exists()


def test_a_refused_login_is_told_on_the_terminal(daemon, redis_acl):
    url = redis_acl.fresh_url().replace("redis://", "redis://nobody:s3kr1t@")
    ended = daemon.start(*camera(), "-b", url)
    assert ended.status == 69
    assert ended.err.startswith("evcam: cannot use redis://nobody:**@")
    assert "s3kr1t" not in ended.err + daemon.log


def test_a_daemon_has_its_brokers_address_from_a_pipe_and_no_files_of_its_starter(
    daemon, redis_url
):
    read, write = os.pipe()
    command = [*(sys.executable, "-m", "evtools", "cam", "-d", "-b", "-", *camera())]
    command += ["--pidfile", str(daemon.pidfile), "-f", str(daemon.logfile)]
    with contextlib.closing(os.fdopen(read)), contextlib.closing(os.fdopen(write, "w")):
        ended = subprocess.run(
            command,
            cwd=daemon.folder,
            input=redis_url,
            text=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=[write],
            check=False,
            timeout=50,
        )
        daemon._started.append(daemon.number)
        assert ended.returncode == 0
        targets = {}
        for link in Path(f"/proc/{daemon.number}/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):  # closed meanwhile
                targets[int(link.name)] = str(link.readlink())
        assert str(Path(f"/proc/self/fd/{write}").readlink()) not in targets.values()
    assert targets[0] == "/dev/null"
    assert targets[1] == targets[2] == str(daemon.logfile)
    assert redis_url.partition("://")[2] in daemon.wait_log("listening on")


# --- logs ---------------------------------------------------------------------------


@pytest.mark.parametrize("owned", [True, False], ids=["users-folder", "roots-folder"])
def test_logrotate_loses_no_line(daemon, folder, redis_url, owned):
    uid, gid = NOBODY.pw_uid, NOBODY.pw_gid
    if owned:
        os.chown(folder, uid, gid)
    assert daemon.start(*(*camera(), "-b", redis_url, "--uid", "nobody", "-F", "0.005")).status == 0
    moved = [folder / f"evcam.log.{number}" for number in range(5)]
    for target in moved:
        wait_until(lambda: daemon.logfile.stat().st_size > 500, what="some lines")
        daemon.logfile.rename(target)
        if not owned:  # as logrotate does with `create 0640 nobody nogroup`
            new = os.open(daemon.logfile, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o640)
            os.fchown(new, uid, gid)
            os.close(new)
        daemon.signal(signal.SIGHUP)
        wait_until(
            lambda: daemon.logfile.exists() and "the log goes on here" in daemon.log,
            what="a new file",
        )
    assert daemon.stop().status == 0
    lines = "".join(path.read_text() for path in (*moved, daemon.logfile)).splitlines()
    assert all(re.match(r"\d{4}-\d\d-\d\dT\S+Z [a-z]+ ", line) for line in lines)
    shots = [int(n) for n in re.findall(r"shot (\d+) of", "\n".join(lines))]
    assert len(shots) > 10
    assert shots == list(range(1, len(shots) + 1))
    assert daemon.logfile.stat().st_uid == uid


def test_where_no_new_log_can_be_made_the_old_one_says_so(daemon, folder, redis_url):
    words = (*camera(), "-b", redis_url, "--uid", "nobody", "-F", "0.1")
    assert daemon.start(*words).status == 0
    moved = daemon.logfile.rename(folder / "evcam.log.1")
    daemon.signal(signal.SIGHUP)
    wait_until(
        lambda: f"SIGHUP: cannot create {daemon.logfile}: " in moved.read_text(),
        what="a word about it",
    )
    assert daemon.stop().status == 0
    shots = re.findall(r"shot (\d+) of", moved.read_text())
    assert [*map(int, shots)] == [*range(1, len(shots) + 1)]


def test_signals_have_settings_read_again_counters_logged_and_a_shot_taken(
    daemon, folder, redis_url
):
    settings = folder / "evtools.toml"
    settings.write_text("[evcam]\nfreq = 60\n")
    words = (*camera(), "-b", redis_url, "--config", settings)
    assert daemon.start(*words).status == 0
    settings.write_text("[evcam]\nfreq = 30\nloglevel = 'DEBUG'\n")
    daemon.signal(signal.SIGHUP)
    text = daemon.wait_log("these changes take effect after a restart: freq")
    assert "loglevel is DEBUG from now on" in text
    settings.write_text("nonsense")
    daemon.signal(signal.SIGHUP)
    daemon.wait_log("the settings stay as they were")
    daemon.signal(signal.SIGUSR1)
    text = daemon.wait_log("thread evtools-reader")
    counters = json.loads(re.search(r"warning counters: (.*)", text)[1])
    assert counters["connected"] is True
    assert "thread MainThread:" in text
    assert "thread evtools-camera" in text
    assert "shot 1 of" not in text
    daemon.signal(signal.SIGUSR2)
    daemon.wait_log("shot 1 of")


def test_hup_has_the_next_connection_read_the_brokers_url_again(daemon, folder, redis_acl):
    def let_in(password):
        rules = ("on", "resetpass", f">{password}", "~*", "&*", "+@all")
        redis_acl.redis_cli("ACL", "SETUSER", "hup", *rules)
        where = f"127.0.0.1:{redis_acl.port}/0"
        (folder / "url").write_text(f"redis://hup:{password}@{where}")

    let_in("one")
    assert daemon.start(*camera(), "-b", f"@{folder / 'url'}").status == 0
    let_in("two")
    daemon.signal(signal.SIGHUP)
    daemon.wait_log("the broker's URL is read again")
    redis_acl.redis_cli("CLIENT", "KILL", "USER", "hup")
    daemon.wait_log("connected again")
    assert "login" not in daemon.log


def test_a_command_for_the_broker_runs_as_the_user_that_evcam_becomes(daemon, folder, redis_url):
    told = folder / "told"
    told.touch()
    told.chmod(0o666)
    script = f"id -un >> {told}; echo {redis_url}"
    words = ("--broker-command", f"sh -c '{script}'", "--uid", "nobody")
    assert daemon.start(*camera(), *words).status == 0
    daemon.wait_log("listening on")
    assert set(told.read_text().split()) == {"nobody"}


# --- in the foreground --------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_takes_the_last_shot_and_ends_it(evcam, redis_url, number):
    running = evcam(*camera(), "-b", redis_url, "-F", "1h")
    running.wait_ready()
    assert running.stop(number) == 0
    assert "shot 1 of" in running.stderr


def starting_camera(folder, *numbers):
    """Write a camera module that sends signals to evcam in the middle of its start."""
    (folder / "starting.py").write_text(
        "import logging, os\nfrom evtools.cam.camera import Polaroid\n"
        + "".join(f"os.kill(os.getpid(), {int(number)})\n" for number in numbers)
        + "class Mine(Polaroid):\n"
        "    def on_shutter(self, state):\n        logging.getLogger('mine').info('a shot')\n"
    )
    return (
        "-c",
        "starting:Mine",
        "--pythonpath",
        folder,
        "--demo",
        "--pidfile",
        folder / "starting.pid",
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_it_starts_ends_it_and_leaves_no_pidfile(evcam, tmp_path, number):
    starting = evcam(*starting_camera(tmp_path, number))
    assert starting.wait() == 0
    assert starting.stderr == ""
    assert not (tmp_path / "starting.pid").exists()


def test_other_signals_while_it_starts_are_heeded_once_it_runs(evcam, tmp_path):
    signals = signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2
    starting = evcam(*starting_camera(tmp_path, *signals), "-F", "1h")
    for words in ("SIGHUP: the log goes on", "thread MainThread", "a shot"):
        starting.wait_stderr(words)
    assert starting.stop(signal.SIGTERM) == 0


def test_a_camera_that_hangs_does_not_hold_up_the_end(evcam, redis_url):
    running = evcam(
        *(*camera("Hanging"), "-b", redis_url, "-F", "0.1"), *("--shutdown-timeout", "500ms")
    )
    running.wait_stderr("hanging")
    assert running.stop(signal.SIGTERM) == 1
    assert "still at work" in running.stderr


def test_a_second_ctrl_c_ends_it_at_once(evcam, redis_url):
    running = evcam(
        *(*camera("Hanging"), "-b", redis_url, "-F", "0.1"), *("--shutdown-timeout", "1m")
    )
    running.wait_stderr("hanging")
    running.send_signal(signal.SIGINT)

    def press():
        # The same key press seen twice is one; so press until it is another.
        if running.returncode is None:
            running.send_signal(signal.SIGINT)
        return running.returncode is not None

    wait_until(press, what="the end")
    assert running.returncode == 130


def test_it_can_be_another_user_in_the_foreground_whose_journal_gets_levels(evcam, redis_url):
    words = ("--uid", "nobody", "--log-format", "journal")
    running = evcam(*camera(), "-b", redis_url, *words, "-F", "0.1")
    running.wait_stderr("<6>listening on")
    running.wait_stderr("shot 1 of")
    assert facts(running.pid)["Uid"].split() == [str(NOBODY.pw_uid)] * 4
    assert running.stop(signal.SIGTERM) == 0
    assert "ways back: []" in running.stderr
    assert all(re.match(r"<[0-7]>", line) for line in running.stderr.splitlines())


def test_a_check_tries_camera_and_broker(daemon, broker_url, event_exchange):
    words = ("check", *camera(), "--event-exchange", event_exchange)
    ended = daemon.run(*words, "-b", broker_url, "--uid", "nobody")
    assert ended.status == 0, ended.err
    assert ended.out.startswith("camera: ")
    assert "\nbroker: " in ended.out
    if broker_url.startswith("redis"):
        assert daemon.run(*words, "-b", "redis://127.0.0.1:1/0").status == 69


# --- systemd ------------------------------------------------------------------------


@pytest.fixture
def systemd(folder):
    with NotifySocket(str(folder / "notify")) as listening:
        yield listening


def environment(systemd, **more):
    return {"NOTIFY_SOCKET": systemd.address, **more}


def test_systemd_hears_of_the_whole_life(evcam, redis_url, systemd, sender):
    running = evcam(
        *(*camera(), "-b", redis_url, "-F", "0.5"),
        env=environment(systemd, WATCHDOG_USEC="1000000"),
    )
    told = systemd.wait("READY=1")
    # Not before it listens, whatever comes meanwhile.
    running.wait_ready()
    assert f"MAINPID={running.pid}" in told[-1]
    assert any(line.startswith("STATUS=connected, ") for line in told[-1])
    for _ in range(3):
        systemd.wait("WATCHDOG=1")
    # Nothing that the camera starts is the service.
    running.wait_stderr("variables: []")
    before = time.monotonic_ns() // 1000
    running.send_signal(signal.SIGHUP)
    reloading = systemd.wait("RELOADING=1")[-1]
    moment = next(line for line in reloading if line.startswith("MONOTONIC_USEC="))
    assert before <= int(moment.partition("=")[2]) <= time.monotonic_ns() // 1000
    systemd.wait("READY=1")
    running.send_signal(signal.SIGTERM)
    # Meanwhile: what comes while ten notices are not read is dropped.
    systemd.wait("STOPPING=1")
    assert running.wait() == 0


def test_without_a_broker_it_counts_as_started_after_a_while(daemon, own_redis, systemd):
    url = own_redis.fresh_url()
    own_redis.stop()
    words = (*camera(), "-b", url, "--ready-timeout", "300ms")
    ended = daemon.start(*words, env=environment(systemd))
    assert ended.status == 0
    assert "runs as process" in ended.err
    told = systemd.wait("READY=1")[-1]
    assert any(line.startswith("STATUS=waiting for broker") for line in told)
    assert f"MAINPID={daemon.number}" in told
    own_redis.start()
    daemon.wait_log("info listening on", deadline=40)
    systemd.wait("STATUS=connected, ")


def test_the_watchdog_notices_a_main_loop_that_hangs(evcam, redis_url, systemd, sender, folder):
    running = evcam(
        *(*camera("Freezing"), "-b", redis_url, "-F", "0.2"),
        env=environment(systemd, WATCHDOG_USEC="600000"),
    )
    # The signs of life begin before it would receive the event.
    running.wait_ready()
    systemd.wait("WATCHDOG=1")
    (folder / "freeze").touch()
    sender(redis_url).send("task-sent", uuid="1", name="x")
    # Other threads go on; they give no sign of life.
    deadline = time.monotonic() + 20
    while not is_quiet(systemd, 1.5):
        assert time.monotonic() < deadline, "signs of life from a loop that hangs"
    (folder / "freeze").unlink()
    systemd.wait("WATCHDOG=1")
    assert running.stop(signal.SIGTERM) == 0


def is_quiet(systemd, seconds):
    try:
        systemd.read(deadline=seconds)
    except AssertionError:
        return True
    return False
