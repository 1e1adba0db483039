import runpy
import sys

import pytest

from evtools import __version__


def test_the_package_can_be_run(capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["evtools", "-V"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_module("evtools", run_name="__main__")
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"evtools {__version__}\n"
