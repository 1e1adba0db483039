"""Every command line and every program in README.md and in the pages of recipes, as it stands.

Only addresses, file names of secrets and the names of a worker, a queue and of tasks
are replaced. Commands that take the whole screen get a terminal, and `q` when they show
something; an evcam that goes on for ever is ended when it listens. What installs
something is in test_install.py.

Most of the time they wait for events, so several blocks run at a time.
"""

from __future__ import annotations

import itertools
import re
import shlex
import shutil
import signal
import sys
import threading
import tomllib
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from celery.bin.celery import celery as celery_command
from click import Context

import check_docs
import screenshots
from evtools.dump.formats import FORMATS
from evtools.dump.options import DumpOptions
from evtools.top.keys import Keymap, keys_text
from evtools.wire import GAP
from servers.redis import Sentinel
from tools.command import ROOT, installed
from tools.screen import EvtopStarter
from tools.shown import PAGES, README, blocks, page, texts
from tools.typed import event_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from cluster.worker import Worker
    from tools.shown import Block

TOOLS = {"evtop", "evdump", "evcam", "evtools"}
# Under these headings, test_install.py runs what is shown.
INSTALLS = {
    *("Install", "SINGLE FILE", "PACKAGES", "TARBALL", "PIP AND PIPX", "CONTAINERS"),
    *("SERVICE", "DAEMON", "VERIFYING", "UPGRADING", "REMOVING"),
}
# With one of these evtop prints, and ends by itself.
_PRINTS = {"-B", "--batch", "--check"}
# With one of these evcam ends by itself, or detaches.
_RETURNS = {"--once", "--test", "--read", "--detach", "-d", "status", "stop", "check"}

# A part of the run is over when none of its commands ends by itself.
DEADLINE = 100


# How many blocks run at a time.
AT_A_TIME = 4


def of(language: str) -> list[Block]:
    """Return the blocks in a language that are run here, each of their lines once."""
    pages = {line for each in blocks() if each.document in PAGES for line in each.text.splitlines()}
    return [
        block
        for block in blocks()
        if block.language == language and block.heading not in INSTALLS
        if block.document in PAGES or not pages.issuperset(block.text.splitlines())
    ]


# --- A cluster that is busy -------------------------------------------------------


class Traffic(threading.Thread):
    """Sends tasks that succeed, fail at once and fail after three seconds."""

    def __init__(self, worker: Worker) -> None:
        super().__init__(name="traffic")
        self._send = worker.app.send_task
        self._stopping = threading.Event()

    def run(self) -> None:
        number = 0
        while not self._stopping.wait(0.4):
            self._send("cluster.add", args=(number, 1))
            self._send("cluster.fail")
            if number % 5 == 0:
                self._send("cluster.occupy", args=(30,), soft_time_limit=3)
            number += 1

    def stop(self) -> None:
        self._stopping.set()
        self.join()


def busy(worker: Worker) -> Iterator[Worker]:
    worker.start()
    traffic = Traffic(worker)
    traffic.start()
    yield worker
    traffic.stop()
    worker.end()


@pytest.fixture(scope="module")
def on_redis(redis_server, _start_any_worker) -> Iterator[Worker]:
    url = redis_server.fresh_url()
    yield from busy(_start_any_worker(url, name="readme", concurrency=4))


@pytest.fixture(scope="module")
def on_rabbitmq(rabbitmq_server, _start_any_worker) -> Iterator[Worker]:
    yield from busy(_start_any_worker(rabbitmq_server.url, queue="readme"))


@pytest.fixture(scope="module")
def sentinel_url(redis_server, on_redis, tmp_path_factory) -> Iterator[str]:
    server = Sentinel(tmp_path_factory.mktemp("sentinel"), redis_server)
    server.start()
    yield server.url.removesuffix("/0") + database_of(on_redis)
    server.kill()


def database_of(worker: Worker) -> str:
    return worker.broker_url[worker.broker_url.rindex("/") :]


@pytest.fixture
def secret_file(on_redis, tmp_path) -> Path:
    path = tmp_path / "secret"
    path.write_text(on_redis.broker_url + "\n")
    return path


@pytest.fixture
def tls_url(redis_server, on_redis) -> str:
    return f"rediss://localhost:{redis_server.tls_port}{database_of(on_redis)}"


@pytest.fixture
def amqps_url(on_rabbitmq, rabbitmq_tls) -> str:
    return rabbitmq_tls


# What the documents write: the fixture that has it for us, and what to take of that.
REPLACED = {
    "redis://localhost:6379/0": ("on_redis", lambda worker: worker.broker_url),
    "celery@web-1": ("on_redis", lambda worker: worker.hostname),
    "--consuming mail": ("on_redis", lambda worker: f"--consuming {worker.queue}"),
    "name:proj.*": ("on_redis", lambda _: "name:cluster.*"),
    "rediss://redis.example.net:6380/0": ("tls_url", str),
    "amqps://rabbit.example.net//": ("amqps_url", str),
    "amqp://rabbit.example.net//": ("on_rabbitmq", lambda worker: worker.broker_url),
    "service=monitoring": ("postgres_url", shlex.quote),
    "sentinel://sentinel-1.example.net:26379;sentinel-2.example.net:26379/0": (
        *("sentinel_url", str),
    ),
    "mymaster": ("sentinel_url", lambda _: Sentinel.master_name),
    "/etc/ssl/broker-ca.pem": ("authority", lambda authority: str(authority.ca)),
    "/run/secrets/broker-url": ("secret_file", str),
    # Where nobody listens: alerts are tested elsewhere.
    "https://hooks.example.net/celery": ("on_redis", lambda _: "http://127.0.0.1:9/"),
}


@pytest.fixture
def ours(request) -> Callable[[str], str]:
    """Put our addresses and names into the text of a block."""
    taken = {
        theirs: take(request.getfixturevalue(fixture))
        for theirs, (fixture, take) in REPLACED.items()
    }

    def replace(text: str) -> str:
        for theirs, replacement in taken.items():
            text = text.replace(theirs, replacement)
        return text

    return replace


@pytest.fixture
def starter(tmp_path) -> Iterator[EvtopStarter]:
    folder = tmp_path / "work"
    folder.mkdir()
    started = EvtopStarter(folder)
    yield started
    started.end()


@pytest.fixture
def path_with_tools(tmp_path, monkeypatch) -> None:
    """Have the tools found, whether or not the package is installed."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "celery").symlink_to(installed("celery"))
    for name in TOOLS:
        script = folder / name
        if installed(name).exists():
            script.symlink_to(installed(name))
        else:
            tool = "" if name == "evtools" else name
            script.write_text(f'#!/bin/sh\nexec {sys.executable} -m evtools {tool} "$@"\n')
            script.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=":")


# --- Command lines ----------------------------------------------------------------


APPLICATION, *_ = texts("Events have to be switched on", "python")


@pytest.mark.timeout(300)
@pytest.mark.usefixtures("path_with_tools")
def test_what_is_shown_does_what_it_is_shown_for(ours, on_redis, tmp_path, monkeypatch, subtests):
    monkeypatch.setenv("EVTOOLS_BROKER_URL", on_redis.broker_url)
    files = {"proj.py": APPLICATION} | {each.file: each.text for each in blocks() if each.file}

    def do(block: Block) -> None:
        folder = tmp_path / f"{block.language}-{id(block)}"
        folder.mkdir()
        for name, text in files.items():
            (folder / name).write_text(ours(text))
        starter = EvtopStarter(folder)
        try:
            RUN[block.language](starter, ours(block.text))
        finally:
            starter.end()

    # The long ones first.
    waiting = [block for language in RUN for block in of(language) if not block.file]
    waiting.sort(key=lambda block: -block.text.count("\n"))
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        begun = [(block, pool.submit(do, block)) for block in waiting]
    for block, done in begun:
        with subtests.test(f"{block.document}: {block.heading}"):
            done.result()


def run_lines(starter: EvtopStarter, text: str) -> None:
    """Run command lines, each as it wants to be run, those between together."""
    lines = [line for line in text.splitlines() if not checked_instead(line)]
    for how, part in itertools.groupby(lines, way_to_run):
        if how is run:
            run(starter, "\n".join(part))
        else:
            for line in part:
                how(starter, line)


def run_program(starter: EvtopStarter, text: str) -> None:
    """Run a program, which has nothing to complain about."""
    program = starter.start([sys.executable, "-c", text])
    assert program.wait(deadline=DEADLINE) == 0, program.stderr
    assert program.stderr == ""


RUN = {"sh": run_lines, "python": run_program}


def way_to_run(line: str) -> Callable[[EvtopStarter, str], None]:
    """Say how a line is to be run."""
    if line.startswith(("evtop", "celery -A proj evtop")) and _PRINTS.isdisjoint(line.split()):
        return look_at
    if line.startswith("evcam") and _RETURNS.isdisjoint(line.split()):
        return await_and_end
    return run


def await_and_end(starter: EvtopStarter, line: str) -> None:
    """Run a line until it listens to events."""
    shell = starter.start(["/bin/sh", "-c", f"exec {line}"])
    shell.wait_stderr("listening on", deadline=DEADLINE)
    shell.send_signal(signal.SIGTERM)
    assert shell.wait() == 0, shell.stderr


def look_at(starter: EvtopStarter, line: str) -> None:
    """Run a line on a terminal, until there is a row in its table."""
    shell = starter.start(["/bin/sh", "-c", f"exec {line}"], terminal=(100, 28))
    shell.wait_screen(shows_a_row, deadline=DEADLINE)
    shell.type("Q")
    assert shell.wait() == 0, shell.stderr
    assert shell.stderr == ""


def shows_a_row(screen: str) -> bool:
    return bool(re.search("LIVE|REPLAY", screen) and re.search("^>", screen, re.MULTILINE))


def run(starter: EvtopStarter, script: str) -> None:
    """Run lines that end by themselves, and say something about it."""
    if not script.strip():
        return
    shell = starter.start(["bash", "-euo", "pipefail", "-c", script])
    assert shell.wait(deadline=DEADLINE) == 0, shell.stderr
    # An alert is about errors.
    said = [line for line in shell.stderr.lower().splitlines() if " warning alert " not in line]
    assert "error" not in "".join(said)
    assert shell.stdout or ">" in script or " -o " in script


def checked_instead(line: str) -> bool:
    """Say whether a line is one that is not run, after checking it."""
    words = shlex.split(line) if line.count("'") % 2 == 0 else []
    check = CHECKS.get(words[0]) if words and TOOLS.isdisjoint(words) else None
    if check is not None:
        check(words[1:])
    return check is not None


def check_make(arguments: list[str]) -> None:
    (target,) = arguments
    makefile = (ROOT / "Makefile").read_text()
    assert re.search(rf"^{target}:.*## ", makefile, re.MULTILINE), target


def check_celery(arguments: list[str]) -> None:
    assert arguments[:2] == ["-A", "proj"]
    name, *rest = arguments[2:]
    command = celery_command.commands[name]
    command.make_parser(Context(command)).parse_args(rest)


CHECKS = {"make": check_make, "celery": check_celery}


def test_every_program_that_is_needed_is_here():
    for name in ("bash", "gzip", "jq", "sort", "sqlite3", "tee", "uniq"):
        assert shutil.which(name), f"{name} is missing"


# --- Settings -------------------------------------------------------------------


@pytest.mark.parametrize("block", of("toml"), ids=lambda block: block.heading)
def test_the_settings_are_settings(block, ours, evdump, starter, on_redis, tmp_path):
    path = tmp_path / "evtools.toml"
    path.write_text(ours(block.text))
    for profile in tomllib.loads(block.text)["profile"]:
        args = ("--config", path, "--profile", profile)
        for shown in (
            evdump(*args, "--show-config"),
            starter(*args, "--show-config", terminal=None),
        ):
            assert shown.wait() == 0, shown.stderr
            assert f"[profile.{profile}]" in shown.stdout
        assert evdump(*args, "--no-tls", "-c", "1", "--timeout", "20s").wait() == 0
        evtop = starter(*args, "--no-tls", terminal=(100, 28))
        evtop.wait_screen(shows_a_row, deadline=DEADLINE)
        evtop.press("Q")
        assert evtop.wait() == 0, evtop.stderr


# --- What it says -----------------------------------------------------------------


def test_all_that_is_replaced_is_shown():
    shown = "".join(block.text for block in blocks())
    assert [text for text in REPLACED if text not in shown] == []


def test_the_pictures_are_of_the_program_as_it_is():
    today = {name: screenshots.text_of(cells) for name, cells in screenshots.taken(0.0).items()}
    assert list(screenshots.problems(README, screenshots.pictures(), today)) == []


def test_the_keys_shown_are_those_of_the_program():
    keys = set().union(*(keys_text(each).split() for each in Keymap().bindings))
    _, _, section = page("evtools-cookbook.7").partition("The first ten keys\n")
    shown = re.findall(r"^\.TP\n(.*)$", section.partition("\n.PP\n")[0], re.MULTILINE)
    assert len(shown) == 10
    assert {key for row in shown for key in check_docs.unroff(row).split()} <= keys


def test_only_blocks_that_can_be_tested_are_shown():
    found = list(blocks())
    assert {each.language for each in found} == {"sh", "python", "toml", "ini", "text"}
    there = README.count("\n```") // 2 + sum(page(name).count("\n.EX\n") for name in PAGES)
    assert there == len(found)


def test_the_readme_is_short():
    assert len(README.splitlines()) <= 200


def test_the_lines_shown_are_those_that_evdump_writes():
    (text,) = texts("EVDUMP", "text")
    # The page shows local times, of a machine in UTC.
    formatter = FORMATS["text"](DumpOptions(timestamps="utc"))
    written = [formatter.format(event_of(*said)).decode() for said in shown_events()]
    written = [re.sub(r"^(\S+)Z", r"\1", line) for line in written]
    assert text.splitlines(keepends=True) == written


def shown_events():
    """Yield the events that the page shows as text, each with what is joined."""
    task = {"name": "shop.mail.send", "args": "('user98@example.org',)", "kwargs": "{}"}
    uuid = "380208a9-10c4-4ac1-a1cb-10e3a6e3d7a5"
    sent = {"uuid": uuid, "hostname": "gen4120@web-1"}
    ours = {"uuid": uuid, "hostname": "celery@w2"}
    yield {"type": "task-sent", **at(31.820), **sent, **task, "queue": "mail"}, {}
    yield {"type": "task-received", **at(31.822), **ours, **task}, {}
    yield {"type": "task-started", **at(31.851), **ours}, task
    lost = "SMTPServerDisconnected('timeout')"
    yield (
        {"type": "task-failed", **at(31.920), **ours, "exception": lost},
        {**task, "started": at(31.851)["timestamp"]},
    )
    beat = {"type": "worker-heartbeat", **at(32.507), "hostname": "celery@w1"}
    yield {**beat, "active": 4, "processed": 2, "loadavg": [0.3, 0.2, 0.1]}, {}
    lost = {"reason": "reconnect", "error": "TCP: the broker closed the connection"}
    received = at(44.118)["timestamp"]
    yield {"type": GAP, **lost, "duration": 4.2, "local_received": received}, {}


def at(second):
    """Return the timestamp of a second in the minute that the page shows."""
    return {"timestamp": 1795186500.0 + second}


def test_every_place_that_is_linked_exists():
    headings = re.findall(r"^#+ (.*)$", README, re.MULTILINE)
    places = {re.sub(r"[^\w -]", "", each).lower().replace(" ", "-") for each in headings}
    assert set(re.findall(r"\]\(#([^)]+)\)", README)) <= places


def test_every_file_that_is_linked_exists():
    links = re.findall(r"\]\(([^)#:]+)\)", README)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []
