import json
import subprocess
import sys

import pytest
from celery.bin.celery import celery
from click.testing import CliRunner

from evtools.cli.entry import command as standalone
from evtools.cli.plugin import evcam, evdump, evtop


@pytest.fixture(scope="module")
def command():
    """Return celery's command with ours in it, as the entry point puts it there."""
    before = dict(celery.commands)
    celery.add_command(evdump)
    celery.add_command(evtop)
    celery.add_command(evcam)
    yield celery
    celery.commands.clear()
    celery.commands.update(before)


@pytest.fixture
def run(command, tmp_path, monkeypatch):
    """Run `celery -A proj evdump ...`, or another `tool`."""
    name = f"proj_{tmp_path.name}"
    (tmp_path / f"{name}.py").write_text(
        "from celery import Celery\n"
        "app = Celery('x', broker='redis://:pw@app/1', set_as_current=False)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))

    def invoke(*arguments, tool="evdump"):
        return CliRunner().invoke(command, ["-A", name, tool, *arguments])

    return invoke


def test_the_application_of_celery_gives_the_settings(run):
    ended = run("--show-config")
    assert ended.exit_code == 0
    assert '"redis://:**@app/1"' in ended.stdout


def test_a_flag_of_ours_beats_the_application(run):
    ended = run("--show-config", "-b", "redis://mine")
    assert '"redis://mine"' in ended.stdout


def test_it_does_the_same_as_evdump(run, tmp_path):
    (tmp_path / "day.json").write_text('{"type": "task-sent", "uuid": "1"}\n')
    code = (
        "import sys\n"
        "from celery.bin.celery import celery\n"
        "from evtools.cli.plugin import evdump\n"
        "celery.add_command(evdump)\n"
        "celery(['evdump', '-r', 'day.json', '-o', 'raw', '-q'])"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=True, cwd=tmp_path
    )
    assert json.loads(ended.stdout) == {"type": "task-sent", "uuid": "1"}


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (("--config", "none.toml"), 78, "evdump: none.toml: No such file"),
        (("--event-queue-durable",), 2, "exclude each other"),
        (("--heartbeat", "x"), 2, "invalid duration"),
    ],
)
def test_failures_look_like_evdumps_own(run, arguments, status, words):
    ended = run(*arguments)
    assert ended.exit_code == status
    assert words in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("tool", ["evdump", "evtop", "evcam"])
def test_each_tool_knows_the_application(run, tool):
    ended = run("--show-config", tool=tool)
    assert ended.exit_code == 0
    assert '"redis://:**@app/1"' in ended.stdout


def test_evtop_fails_under_its_own_name(run):
    ended = run("-B", "-r", "none", tool="evtop")
    assert ended.exit_code == 2
    assert "evtop: cannot read none" in ended.stderr


@pytest.mark.parametrize(("name", "tool"), [("cam", evcam), ("dump", evdump), ("top", evtop)])
def test_each_tool_keeps_its_groups_of_options(name, tool):
    assert tool.groups == standalone(name).groups
    assert len({evcam.groups, evdump.groups, evtop.groups}) == 3
