import json
import os
import platform
import subprocess
import sys
from importlib import metadata
from types import SimpleNamespace

import kombu
import pytest

from evtools import __version__
from evtools.cli import frozen, version
from evtools.cli.version import TRANSPORTS, _distributions, report, speaks_utf8
from evtools.transport.url import KINDS


def facts():
    return json.loads(report("evdump", True))


def test_the_report_has_the_versions_of_all_components():
    first, *lines = report("evdump", False).splitlines()
    assert first == f"evdump {__version__}"
    rows = dict(row.split(None, 1) for row in lines)
    assert rows["kombu"] == kombu.__version__
    assert rows["python"].startswith(platform.python_version())
    assert "libc" in rows
    assert "redis rediss redis+socket sentinel" in rows["transports"]
    found = facts()
    assert found["version"] == __version__
    assert found["parts"] == {name: metadata.version(name) for name in found["parts"]}
    assert "redis" in found["parts"]
    assert set(found["transports"]) == set(KINDS) == set(" ".join(TRANSPORTS.values()).split())


def test_what_is_not_installed_is_left_out(monkeypatch, tmp_path):
    """As pip, Debian and their elders name the folders; one that is gone is none."""
    for name in ("kombu-5.7.0.dist-info", "PyYAML-6.0.egg-info", "amqp-5.3-py3.egg-info"):
        (tmp_path / name).mkdir()
    monkeypatch.setattr("sys.path", [str(tmp_path / "gone"), str(tmp_path)])
    _distributions.cache_clear()
    found = facts()
    _distributions.cache_clear()
    assert found["parts"] == {"kombu": "5.7.0", "amqp": "5.3", "PyYAML": "6.0"}
    assert "sentinel" not in found["transports"]
    assert "amqps" in found["transports"]


def test_a_standalone_program_tells_of_its_build(monkeypatch):
    build = {"form": "folder", "commit": "abc", "date": "2026", "library": ["json"]}
    monkeypatch.setattr(frozen, "build", lambda: dict(build))
    lines = report("evtools", False).splitlines()
    assert lines[1] == "build       folder of abc, 2026"
    assert lines[2].endswith("(CPython, embedded)")
    assert facts()["build"] == {"form": "folder", "commit": "abc", "date": "2026"}


@pytest.mark.parametrize(
    ("environ", "colours", "unicode"),
    [
        ({"TERM": "xterm-256color", "LANG": "xx_YY.UTF-8"}, 256, True),
        ({"TERM": "vt100", "LC_ALL": "xx_YY.utf8"},         0,   True),
        ({"TERM": "no-such-terminal", "LANG": "C"},         0,   False),
        ({},                                                0,   True),
        ({"TERM": "xterm", "COLORTERM": "truecolor", "LC_ALL": "C"}, 256, False),
    ],
)  # fmt: skip
def test_a_terminal_is_asked_and_a_locale_need_not_be_installed(environ, colours, unicode):
    code = "from evtools.cli.version import *; print(colours(), speaks_utf8())"
    ended = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": os.environ["PYTHONPATH"], **environ},
        capture_output=True,
        text=True,
        check=True,
    )
    assert ended.stdout.split() == [str(colours), str(unicode)]


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, True), ({"LANG": ""}, True), ({"LC_ALL": "POSIX"}, False), ({"LANG": "de_DE"}, False),
        ({"LANG": "C.UTF-8"}, True), ({"LANG": "de_DE.UTF-8", "LC_ALL": "C"}, False),
        ({"LANG": "de_DE.ISO-8859-1", "LC_CTYPE": "en_US.UTF-8"}, True),
        ({"LC_ALL": "", "LANG": "en_US.UTF-8"}, True),
    ],
)  # fmt: skip
def test_the_locale_says_whether_a_terminal_speaks_utf_8(environ, expected, monkeypatch):
    monkeypatch.setattr(version, "sys", SimpleNamespace(flags=SimpleNamespace(utf8_mode=0)))
    monkeypatch.setattr("os.environ", environ)
    assert speaks_utf8() is expected
