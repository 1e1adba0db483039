"""evcam from its options to its end: sources, cameras, signals; and as a process."""

import gc
import json
import logging
import os
import signal
import subprocess
import sys
import textwrap
import threading
import urllib.request
from contextlib import ExitStack
from dataclasses import replace
from types import SimpleNamespace

import pytest

from evtools.alerts import parse_rule
from evtools.cam import app
from evtools.cam.app import Process, check, drop_privileges, run
from evtools.cam.options import CamOptions
from evtools.errors import BrokerUnavailable, OutputError, UsageError
from evtools.transport import ConnectionSettings
from servers.ports import free_port
from tools.studio import PATIENCE, Album
from tools.told import told

SETTINGS = (ConnectionSettings(urls="memory://nobody"),)


class Kept(Album):
    """An album that is still there when the run is over."""

    last = None

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        Kept.last = self


class Full(Album):
    def check(self):
        raise OutputError("the disk is full")

    def write(self, snapshot):
        self.check()


class Printing(Album):
    def write(self, snapshot):
        print("a shot")  # noqa: T201


@pytest.fixture(autouse=True)
def as_it_was(tmp_path, monkeypatch):
    """Put back what a process has only one of, and let these cameras be found by name."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path[:])
    monkeypatch.setitem(sys.modules, "cameras_of_test", sys.modules[__name__])
    root, umask, threshold = logging.getLogger(), os.umask(0o022), gc.get_threshold()
    level, handlers = root.level, {it: it.level for it in root.handlers}
    yield
    os.umask(umask)
    root.setLevel(level)
    root.handlers[:] = handlers
    for handler, its in handlers.items():
        handler.setLevel(its)
    gc.set_threshold(*threshold)
    gc.unfreeze()


def options(kind="Kept", **more):
    camera = f"cameras_of_test:{kind}"
    return CamOptions(**{"camera": camera, "allow_insecure_camera": True, **more})


@pytest.fixture
def recording(tmp_path):
    path = tmp_path / "x.jsonl"
    events = [
        told("worker-heartbeat", 1000.0),
        told("task-received", 1001.0, uuid="a"),
        told("task-received", 1015.0, uuid="b", kwargs="{'password': 'hunter2'}"),
        told("task-received", 1016.0, uuid="c", name="shop.pack"),
    ]
    path.write_text("".join(json.dumps(event) + "\n" for event in events))
    return str(path)


def test_a_recording_is_shot_from_its_beginning_to_its_end(recording, monkeypatch):
    port, seen, before = free_port(), [], {*threading.enumerate()}

    def ready(_):
        # Health is served where asked for.
        for path in ("livez", "metrics"):
            url = f"http://127.0.0.1:{port}/{path}"
            with urllib.request.urlopen(url, timeout=PATIENCE) as answer:
                seen.append(answer.status)

    monkeypatch.setattr(Process, "_ready", ready)
    asked = options(
        read=(recording,),
        freq=10.0,
        filters=("name=shop.pay",),
        redact=("password",),
        warm_up=5.0,
        listen=f"127.0.0.1:{port}",
    )
    assert run(asked, SETTINGS) == 0
    found = [(info.at, info.warm, tasks) for info, tasks in Kept.last.pictures]
    assert found == [(1015.25, True, ["a"]), (1016.25, True, ["a", "b"])]
    assert "hunter2" not in Kept.last.state.tasks["b"].kwargs
    assert seen == [200, 200]
    assert Kept.last.done == ["closed"]
    assert gc.get_threshold() == app.COLLECT_AFTER
    left = {*threading.enumerate()} - before
    assert not [thread for thread in left if thread.name.startswith("evtools")]


def test_tasks_and_memory_are_bounded_as_asked(recording):
    run(options(read=(recording,), max_tasks=2, max_memory=12345678), SETTINGS)
    state = Kept.last.state
    assert (state.max_tasks_in_memory, state.max_bytes) == (2, 12345678)
    assert len(state.tasks) <= 2


@pytest.mark.parametrize(
    ("changes", "error", "complaint"),
    [
        ({"camera": "nothere.Camera"}, UsageError, "there is no module nothere"),
        ({"maxrate": "10/x"}, UsageError, "invalid rate"),
        ({"camera_options": {"nope": "1"}}, UsageError, "has no option nope"),
        ({"filters": ("name==",)}, UsageError, "bad filter"),
        ({"read": ("/none",)}, UsageError, "cannot read /none"),
        ({"listen": "nowhere"}, UsageError, "nowhere"),
        ({"workdir": "none"}, UsageError, "--workdir: none: No such file"),
        # Its modules are imported before privileges are dropped.
        ({"read": ()}, UsageError, "SQS"),
        # That the only snapshot cannot be written is known at once.
        ({"camera": "prometheus"}, UsageError, "nowhere to put its metrics"),
        ({"camera": "cameras_of_test:Full"}, OutputError, "the disk is full"),
    ],
)
def test_options_that_cannot_work_are_refused(recording, changes, error, complaint):
    asked = replace(options(read=(recording,), once=True), **changes)
    with pytest.raises(error, match=complaint):
        run(asked, [ConnectionSettings(urls="sqs://x")])


def test_a_check_is_of_the_camera_and_the_broker_as_the_user_that_evcam_would_be(monkeypatch):
    became = []
    monkeypatch.setattr(app, "become", lambda who: became.append(who.uid))
    asked = options(demo=True, uid=str(os.getuid()))
    assert check(asked, SETTINGS) == "camera: Kept"
    assert became == [os.getuid()]
    name, settings = "evtools.cam.camera:Polaroid", [ConnectionSettings(urls="memory://")]
    found = f"camera: camera {name}\nbroker: memory://"
    assert check(options(camera=name), settings) == found
    with pytest.raises(OutputError, match="the disk is full"):
        check(options("Full", demo=True), SETTINGS)
    away = ConnectionSettings(urls="redis://127.0.0.1:1", cluster="eu")
    with pytest.raises(BrokerUnavailable, match=r"^eu: cannot reach redis://127\.0\.0\.1:1"):
        check(options(camera=name), [replace(settings[0], cluster="prod"), away])


def test_a_check_names_what_alerts_cannot_know():
    rule = parse_rule("own", "f: alert.own", {"filter": "pool<4", "view": "workers"})
    asked, settings = options(camera="", alerts=(rule,)), ConnectionSettings(urls="memory://")
    assert check(asked, [settings]).startswith("camera: none")
    with pytest.raises(UsageError, match="alert own: pool of workers cannot be known: with --read"):
        check(asked, [replace(settings, read_only=True)])


# === the process =====================================================================


@pytest.fixture
def stderr():
    """The handler that the command line installs, and what it got."""
    got = []

    class Got(logging.Handler):
        def emit(self, record):
            got.append(record.getMessage())

    logging.getLogger().handlers[:] = [Got()]
    return got


def ended(**how):
    return run(options("Printing", demo=True, freq=0.1, once=True, **how), [ConnectionSettings()])


def test_in_the_foreground_it_runs_here(tmp_path, recording, capfd, stderr):
    own = {"pidfile": "x.pid", "logfile": "x.log", "umask": 0o077}
    assert ended(**own) == 0
    assert "a shot" in capfd.readouterr().out
    # The simulated cluster may be too slow to send a task in that time.
    asked = options("Printing", read=(recording,), filters=("name=nothing",), **own)
    assert run(asked, SETTINGS) == 0
    text = (tmp_path / "x.log").read_text()
    assert "info listening on" in text
    assert "warning --filter matched none of " in text
    assert (tmp_path / "x.log").stat().st_mode & 0o777 == 0o600
    assert not (tmp_path / "x.pid").exists()
    # The log was its own; stderr is for what the user must know.
    assert stderr == []


def test_a_signal_while_the_pidfile_is_written_leaves_none(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda _: os.kill(os.getpid(), signal.SIGTERM))
    assert run(options(pidfile=str(tmp_path / "x.pid")), SETTINGS) == 0
    assert not (tmp_path / "x.pid").exists()


def test_before_a_change_of_user_all_is_imported_that_comes_late(tmp_path, monkeypatch):
    code = """
        import sys
        from evtools.cam import app
        from evtools.cam.options import CamOptions
        from evtools.transport import ConnectionSettings
        app.become = print
        before = set(sys.modules)
        settings = [ConnectionSettings(urls="redis://h")]
        app.drop_privileges("nobody", CamOptions(camera="jsonl:x"), settings)
        app.drop_privileges("nobody", CamOptions(camera="mod.Camera", demo=True), settings)
        print(*(set(sys.modules) - before))
    """
    command = [sys.executable, "-c", textwrap.dedent(code)]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert printed[:2] == ["nobody", "nobody"]
    assert {"encodings.idna", "secrets", "evtools.cam.jsonl"} <= set(printed)
    assert {"evtools.cam.database.sqlite", "mod"}.isdisjoint(printed)
    # What a binary has unpacked is shared, too.
    unpacked = tmp_path / "unpacked"
    unpacked.mkdir(mode=0o700)
    monkeypatch.setattr(sys, "_MEIPASS", str(unpacked), raising=False)
    monkeypatch.setattr(app, "become", lambda _: None)
    drop_privileges(object(), CamOptions(demo=True), [ConnectionSettings()])
    assert unpacked.stat().st_mode & 0o777 == 0o755


def test_a_failure_is_raised_and_stands_in_the_log_file(tmp_path, stderr, capfd):
    for logfile in ("x.log", ""):
        asked = options(camera="nothing", logfile=logfile)
        with pytest.raises(UsageError, match="there is no camera nothing"):
            run(asked, [ConnectionSettings()])
    text = (tmp_path / "x.log").read_text()
    assert text.count("critical there is no camera nothing (built in: ") == 1
    # On stderr it will follow by itself.
    assert capfd.readouterr().err == ""
    assert stderr == []


def test_a_log_for_programs_has_the_failure_and_nothing_else_has(capfd, stderr):
    asked = options(camera="nothing", log_format="json")
    assert run(asked, [ConnectionSettings()]) == 2
    assert '"level": "critical"' in capfd.readouterr().err


@pytest.mark.parametrize(("form", "raises"), [("json", False), ("text", True)])
def test_an_unexpected_error_is_logged_with_its_traceback(
    stderr, monkeypatch, capfd, tmp_path, form, raises
):
    def fail(*_, **__):
        raise ZeroDivisionError("redis://:s3kr1t@h")

    monkeypatch.setattr(Process, "_run", fail)
    if raises:
        with pytest.raises(ZeroDivisionError):
            ended(log_format=form, logfile="x.log")
        text = (tmp_path / "x.log").read_text()
    else:
        assert ended(log_format=form) == 1
        text = capfd.readouterr().err
    assert "Traceback" in text
    assert "s3kr1t" not in text


@pytest.mark.parametrize("detached", [SimpleNamespace(settle=lambda: None), None])
def test_only_a_detached_process_has_a_log_file_by_default(tmp_path, monkeypatch, detached):
    monkeypatch.setattr(app, "default_log_file", lambda: str(tmp_path / "default.log"))
    with ExitStack() as stack:
        made = Process(CamOptions(), [ConnectionSettings()], detached, None, stack)
        assert made._log.path == (tmp_path / "default.log" if detached else None)
