from pathlib import Path

import pytest

from evtools.cam.cameras.sqlite import SQLite
from evtools.cam.ledger import Retention
from evtools.cam.loader import load_camera
from evtools.errors import UsageError
from evtools.state import State
from tools.ledgers import imported_late


def made(name, **options):
    return load_camera(name, options=options)(State(), timer=object())


def test_a_file_is_all_it_needs():
    camera = made("sqlite:/some/where.db")
    assert isinstance(camera, SQLite)
    assert camera.describe() == "sqlite:/some/where.db"
    assert camera.retention == Retention()
    with pytest.raises(UsageError, match="sqlite needs path"):
        made("sqlite")


def test_its_options_are_given_with_the_name_or_apart():
    camera = made("sqlite:x.db?keep=1d&keep_failed=2d", keep_tasks="0", max_waiting="1M")
    assert camera.store.path == Path("x.db")
    assert camera.retention == Retention(keep=86_400.0, keep_failed=172_800.0, keep_tasks=0)
    assert camera.notebook.max_bytes == 1024 * 1024
    made("sqlite", path="x.db", busy_timeout="100ms")


def test_an_unknown_option_is_refused_with_those_it_has():
    with pytest.raises(UsageError, match="no option kep") as raised:
        made("sqlite:x.db?kep=1d")
    assert raised.value.hint == (
        "it has: path, busy_timeout, keep, keep_failed, keep_tasks, max_waiting"
    )


def test_all_it_needs_is_imported_when_it_is_made(tmp_path):
    assert imported_late(f"sqlite:{tmp_path}/ledger.db") == []
