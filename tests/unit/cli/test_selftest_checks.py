import sys

import pytest

from evtools.cli import frozen, selftest_checks, version
from evtools.cli.selftest_checks import CHECKS, CheckFailed, Finding, findings


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
        selftest_checks, "CHECKS", {"a": broken, "b": lambda: {}["x"], "c": lambda: "fine"}
    )
    assert list(findings()) == [
        Finding("a", ok=False, text="no luck"),
        Finding("b", ok=False, text="KeyError: 'x'"),
        Finding("c", ok=True, text="fine"),
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
    assert "no authorities in" in CHECKS["tls"]()
