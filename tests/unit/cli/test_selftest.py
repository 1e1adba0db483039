import json
import sys

import pytest

from evtools.cli import frozen, selftest, version
from evtools.cli.main import start
from evtools.cli.selftest import CHECKS, LEFT_OUT, CheckFailed, broken, findings, modules, usable


@pytest.mark.timeout(240)
@pytest.mark.parametrize("name", CHECKS)
def test_what_is_installed_here_passes(name):
    assert CHECKS[name]()


@pytest.mark.parametrize("name", ["evdump", "evtop", "evcam"])
def test_settings_of_the_user_are_not_what_is_checked(name, monkeypatch, config):
    config("nonsense = 1")
    for variable in (
        *("EVTOOLS_READ_ONLY", "EVTOP_DELAY", "EVDUMP_TS", "EVCAM_FREQ"),
        *("CELERY_BROKER_URL", "BROKER_URL"),
    ):
        monkeypatch.setenv(variable, "nonsense")
    assert CHECKS[name]()


def test_a_check_that_fails_stops_no_other(monkeypatch):
    def broken():
        raise CheckFailed("no\nluck")

    monkeypatch.setattr(
        selftest, "CHECKS", {"a": broken, "b": lambda: {}["x"], "c": lambda: "fine"}
    )
    assert list(findings()) == [
        {"name": "a", "ok": False, "text": "no luck"},
        {"name": "b", "ok": False, "text": "KeyError: 'x'"},
        {"name": "c", "ok": True, "text": "fine"},
    ]


def test_a_missing_module_of_the_library_is_named(monkeypatch):
    monkeypatch.setattr(frozen, "build", lambda: {"library": ["json", "jsonx"]})
    with pytest.raises(CheckFailed, match="jsonx: ModuleNotFoundError"):
        CHECKS["standard library"]()


def test_the_build_is_told(monkeypatch):
    monkeypatch.setattr(frozen, "build", lambda: {"form": "single file"})
    assert "standalone, single file" in CHECKS["python"]()


def test_a_promised_transport_must_be_inside(monkeypatch):
    monkeypatch.setattr(version, "transports", lambda: ["amqp", "amqps", "memory"])
    with pytest.raises(CheckFailed, match="redis, redis\\+socket, rediss, sentinel"):
        CHECKS["transports"]()


def test_a_missing_distribution_is_named(monkeypatch):
    monkeypatch.setattr(version, "parts", lambda: {"kombu": "5.7.0"})
    with pytest.raises(CheckFailed, match="no metadata of redis, hiredis"):
        CHECKS["metadata"]()


def test_a_library_path_that_children_inherit_is_found(monkeypatch):
    monkeypatch.setattr(sys, "_MEIPASS", "/unpacked", raising=False)
    monkeypatch.setenv("LD_LIBRARY_PATH", "/unpacked")
    with pytest.raises(CheckFailed, match="children would inherit"):
        CHECKS["processes"]()


def test_a_tool_that_fails_tells_why(monkeypatch):
    monkeypatch.setattr(
        frozen, "command", lambda *_: [sys.executable, "-c", "raise SystemExit('dead')"]
    )
    with pytest.raises(CheckFailed, match="status 1: dead"):
        CHECKS["evdump"]()


def test_a_machine_without_authorities_is_told_so(monkeypatch, tmp_path):
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "none.pem"))
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
    assert "no CA certificates in" in CHECKS["tls"]()


# --- the command --------------------------------------------------------------------


def main(arguments):
    return start("selftest", arguments)


@pytest.fixture
def checks(monkeypatch):
    """Put other checks in the place of ours."""

    def put(**functions):
        monkeypatch.setattr(selftest, "CHECKS", functions)

    return put


def missing():
    raise ImportError("No module named 'x\x1b[31m'")


def test_each_check_is_a_line(checks, capsys):
    checks(python=lambda: "3.13", tls=lambda: "OpenSSL")
    assert main([]) == 0
    out = capsys.readouterr().out
    assert [line.split() for line in out.splitlines()] == [
        ["ok", "python", "3.13"],
        ["ok", "tls", "OpenSSL"],
    ]


def test_one_failure_is_the_status(checks, capsys):
    checks(tls=missing, rich=lambda: "here")
    assert main([]) == 1
    failed, passed = capsys.readouterr().out.splitlines()
    assert failed.startswith("FAILED  tls")
    assert "ImportError: No module named 'x\\x1b[31m'" in failed
    assert passed.startswith("ok      rich")


def test_programs_get_json(checks, capsys):
    checks(tls=missing, rich=lambda: "here")
    assert main(["-o", "json"]) == 1
    assert json.loads(capsys.readouterr().out) == [
        {"name": "tls", "ok": False, "text": "ImportError: No module named 'x\x1b[31m'"},
        {"name": "rich", "ok": True, "text": "here"},
    ]


def test_an_option_it_does_not_have_is_refused(capsys):
    assert main(["--nonsense"]) == 2
    assert "evtools selftest: No such option" in capsys.readouterr().err


@pytest.mark.parametrize("word", ["yaml", ""])
def test_an_unknown_format_is_refused(word):
    assert main(["-o", word]) == 2


# --- the standard library -----------------------------------------------------------


def test_every_module_that_a_camera_may_import_is_there():
    names = set(modules())
    wanted = {"asyncio", "ctypes", "sqlite3", "zoneinfo", "xml.etree.ElementTree"}
    assert wanted <= names
    assert {"concurrent.futures.process", "encodings.idna", "email.mime.text"} <= names
    assert not LEFT_OUT & {name.partition(".")[0] for name in names}
    assert not [name for name in names if name.endswith(".__main__")]


def test_what_this_machine_lacks_is_not_named():
    assert "winreg" in sys.stdlib_module_names
    assert "winreg" not in modules()


def test_what_cannot_be_imported_is_told_with_the_reason(tmp_path, monkeypatch):
    (tmp_path / "noisy.py").write_text("print('noise')\nraise RuntimeError('no')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    found = broken(["json", "noisy", "no_such_module"])
    assert found == {
        "noisy": "RuntimeError: no",
        "no_such_module": "ModuleNotFoundError: No module named 'no_such_module'",
    }


def test_importing_makes_no_noise(capsys):
    assert broken(["__hello__", "json"]) == {}
    assert capsys.readouterr() == ("", "")


def test_what_is_usable_can_be_imported():
    names = usable()
    assert "sqlite3" in names
    assert "asyncio.windows_events" not in names
    assert set(names) <= set(modules())
