import json
import sys

import pytest

from evtools.cli import frozen, selftest, version
from evtools.cli.main import start
from evtools.cli.selftest import CHECKS, LEFT_OUT, CheckFailed, broken, modules, usable


@pytest.mark.timeout(240)
@pytest.mark.parametrize("name", CHECKS)
def test_what_is_installed_here_passes(name, monkeypatch, config):
    config("nonsense = 1")  # the settings of the user are not what is checked
    for variable in ("EVTOOLS_READ_ONLY", "EVTOP_DELAY", "EVDUMP_TS", "EVCAM_FREQ", "BROKER_URL"):
        monkeypatch.setenv(variable, "nonsense")
    assert CHECKS[name]()


@pytest.mark.parametrize(
    ("name", "place", "value", "words"),
    [
        ("standard library", (frozen, "build"), lambda: {"library": ["json", "jsonx"]},
         "jsonx: ModuleNotFoundError"),
        ("transports", (version, "transports"), lambda: ["amqp", "amqps", "memory"],
         "redis, redis\\+socket, rediss, sentinel"),
        ("metadata", (version, "parts"), lambda: {"kombu": "5.7.0"},
         "no metadata of redis, hiredis"),
        ("processes", (frozen, "folder"), lambda: "/unpacked", "children would inherit"),
        ("evdump", (frozen, "command"),
         lambda *_: [sys.executable, "-c", "raise SystemExit('dead')"], "status 1: dead"),
    ],
)  # fmt: skip
def test_what_is_missing_is_named(monkeypatch, name, place, value, words):
    monkeypatch.setenv("LD_LIBRARY_PATH", "/unpacked")
    monkeypatch.setattr(*place, value)
    with pytest.raises(CheckFailed, match=words):
        CHECKS[name]()


# --- the command --------------------------------------------------------------------


def failing():
    raise CheckFailed("no\nluck")


def missing():
    raise ImportError("No module named 'x\x1b[31m'")


def test_each_check_is_a_line_or_an_object(monkeypatch, capsys):
    checks = {"a": failing, "tls": missing, "python": lambda: "3.13"}
    monkeypatch.setattr(selftest, "CHECKS", checks)
    assert start("selftest", []) == 1
    assert capsys.readouterr().out.splitlines() == [
        "FAILED  a       no luck",
        "FAILED  tls     ImportError: No module named 'x\\x1b[31m'",
        "ok      python  3.13",
    ]
    assert start("selftest", ["-o", "json"]) == 1
    assert json.loads(capsys.readouterr().out) == [
        {"name": "a", "ok": False, "text": "no luck"},
        {"name": "tls", "ok": False, "text": "ImportError: No module named 'x\x1b[31m'"},
        {"name": "python", "ok": True, "text": "3.13"},
    ]
    del checks["a"], checks["tls"]
    assert start("selftest", []) == 0
    assert start("selftest", ["-o", "yaml"]) == 2


# --- the standard library -----------------------------------------------------------


def test_every_module_that_a_camera_may_import_is_there():
    names = set(modules())
    assert {"asyncio", "ctypes", "sqlite3", "zoneinfo", "xml.etree.ElementTree"} <= names
    assert {"concurrent.futures.process", "encodings.idna", "email.mime.text"} <= names
    assert not LEFT_OUT & {name.partition(".")[0] for name in names}
    assert not [name for name in names if name.endswith(".__main__")]
    assert "winreg" not in names  # of another system
    found = usable()
    assert set(found) <= names
    assert "sqlite3" in found
    assert "asyncio.windows_events" not in found


def test_modules_that_cannot_be_imported_are_named_without_noise(tmp_path, monkeypatch, capsys):
    (tmp_path / "noisy.py").write_text("print('noise')\nraise RuntimeError('no')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert broken(["json", "__hello__", "noisy", "no_such_module"]) == {
        "noisy": "RuntimeError: no",
        "no_such_module": "ModuleNotFoundError: No module named 'no_such_module'",
    }
    assert capsys.readouterr() == ("", "")
