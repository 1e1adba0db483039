import sys

from evtools.cli.frozen_library import LEFT_OUT, broken, modules, usable


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
    (tmp_path / "noisy.py").write_text("print('hear me')\nraise RuntimeError('no')\n")
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
