"""The camera sqlite: whatever happens to the file, nothing is half written."""

import os
import shutil
import sqlite3
import stat
import tempfile
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from evtools.cam import store
from evtools.cam.database import sqlite as module
from evtools.cam.database.sqlite import APPLICATION_ID
from evtools.cam.loader import load_camera
from evtools.errors import OutputError, UsageError
from evtools.state import State
from evtools.transport.recording.database import TABLES, VERSION
from tools.disk import full_disk
from tools.ledgers import Evcam, contents, imported_late, touch, written
from tools.told import UUID, life


def check(file):
    Evcam(file).camera.check()


def query(file, question):
    with closing(sqlite3.connect(file)) as connection:
        return connection.execute(question).fetchall()


def change(file, statement):
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        connection.execute(statement)


def tasks(file):
    return [row["uuid"] for row in contents(file)["tasks"]]


def fifty():
    return [event for n in range(50) for event in life("sent", uuid=f"u{n}")]


# --- a file --------------------------------------------------------------------------


def test_a_file_is_made_when_it_is_first_written_into(file):
    check(file)
    assert not file.exists()
    touch(file)
    check(file)
    assert query(file, "PRAGMA user_version") == [(VERSION,)]
    assert query(file, "PRAGMA application_id") == [(APPLICATION_ID,)]
    assert query(file, "PRAGMA journal_mode") == [("wal",)]
    names = query(file, "SELECT name FROM sqlite_master WHERE type = 'table'")
    assert [name for (name,) in names] == [table.name for table in TABLES]


def test_a_program_that_never_installs_the_camera_writes_without_its_spool(file, tmp_path):
    rows = written(file, life("sent"), life("received"), spool=str(tmp_path / "spool"))
    assert [row["state"] for row in rows["tasks"]] == ["RECEIVED"]
    assert not (tmp_path / "spool").exists()


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o640), (0o077, 0o600)])
def test_others_cannot_read_it(file, umask, mode):
    before = os.umask(umask)
    try:
        evcam = Evcam(file)
        evcam.shoot()
        paths = [file, *file.parent.glob("ledger.db-*")]
        assert {stat.S_IMODE(path.stat().st_mode) for path in paths} == {mode}
        assert len(paths) == 3
    finally:
        os.umask(before)
        evcam.close()


def test_readers_see_whole_snapshots_and_are_in_nobodys_way(file):
    evcam = Evcam(file)
    evcam.shoot()
    with closing(sqlite3.connect(file, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        count = "SELECT count(*) FROM tasks"
        assert reader.execute(count).fetchone() == (0,)
        evcam.hear(life("sent"))
        evcam.shoot()
        assert reader.execute(count).fetchone() == (0,)
        reader.execute("COMMIT")
        assert reader.execute(count).fetchone() == (1,)
    evcam.close()


def test_a_file_that_was_moved_away_is_begun_anew(file, caplog):
    evcam = Evcam(file)
    evcam.hear(life("sent", uuid="before"))
    evcam.shoot()
    old = file.rename(file.with_name("old.db"))
    for suffix in ("-wal", "-shm"):
        file.with_name(f"ledger.db{suffix}").rename(f"{old}{suffix}")
    evcam.hear(life("sent", uuid="after"))
    evcam.shoot()
    assert "has disappeared" in caplog.text
    evcam.camera.reopen()
    evcam.shoot()
    evcam.close()
    assert (tasks(old), tasks(file)) == (["before"], ["after"])
    assert len(contents(file)["snapshots"]) == 2


# --- what is wrong with a file -------------------------------------------------------


def test_a_folder_that_is_not_there_is_reported_at_once(tmp_path):
    file = tmp_path / "nowhere" / "ledger.db"
    with pytest.raises(OutputError, match="is not a directory"):
        check(file)
    with pytest.raises(OutputError, match="No such file or directory"):
        written(file, [])


@pytest.fixture
def foreign():
    """A folder that all may read; pytest's own are for root alone."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@contextmanager
def as_somebody_else(folder, mode=0o555):
    """Be somebody who may not write into a folder."""
    real = os.getresuid()
    if not real[0]:
        # Access is asked for as who the process really is.
        os.setresuid(65534, 65534, 0)
    else:
        for path in (*folder.iterdir(), folder):
            path.chmod(path.stat().st_mode & mode)
    try:
        yield
    finally:
        if not real[0]:
            os.setresuid(*real)
        else:
            folder.chmod(0o755)


@pytest.mark.parametrize("exists", [False, True])
def test_what_may_not_be_written_is_reported_at_once(foreign, exists):
    file = foreign / "ledger.db"
    if exists:
        touch(file)
    for call in (lambda: check(file), lambda: touch(file), Evcam(file).camera.sweep):
        with (
            as_somebody_else(foreign),
            pytest.raises(OutputError, match=r"ledger\.db: Permission denied"),
        ):
            call()


def test_what_may_not_be_looked_for_is_reported_at_once(foreign):
    hidden = foreign / "hidden"
    hidden.mkdir(mode=0o700)
    with (
        as_somebody_else(hidden, mode=0),
        pytest.raises(OutputError, match=r"ledger\.db: Permission denied"),
    ):
        check(hidden / "ledger.db")


def test_a_database_of_something_else_is_left_alone(file):
    change(file, "CREATE TABLE tasks (id)")
    before = file.read_bytes()
    for call in (check, touch):
        with pytest.raises(OutputError, match="is a database of another program"):
            call(file)
    assert file.read_bytes() == before


# --- a damaged file ------------------------------------------------------------------


def damage(file, *, start=0):
    with file.open("r+b") as opened:
        opened.seek(start)
        opened.write(b"\xff" * 20_000)


def aside(file):
    return sorted(path.name for path in file.parent.glob("*.corrupt-*"))


# One that was a database is one whatever its name is.
@pytest.mark.parametrize(("start", "name"), [(0, "x.db"), (4096, "x.db"), (4096, "x")])
def test_a_damaged_file_is_set_aside_and_a_new_one_begun(tmp_path, start, name, caplog):
    file = tmp_path / name
    written(file, fifty())
    damage(file, start=start)
    damaged = file.read_bytes()
    check(file)
    assert "will be set aside" in caplog.text or start
    written(file, life("sent"))
    assert tasks(file) == [UUID]
    first = aside(file)[0]
    assert file.with_name(first).read_bytes() == damaged
    assert "is damaged" in caplog.text
    assert first in caplog.text


def test_damage_that_shows_while_it_is_written_costs_no_event(file, monkeypatch):
    # Too large to be looked through.
    monkeypatch.setattr(module, "_CHECKED_MAX_BYTES", 0)
    written(file, fifty())
    damage(file, start=4096)
    evcam = Evcam(file)
    evcam.hear(fifty())
    with pytest.raises(OutputError, match="malformed"):
        evcam.shoot()
    evcam.shoot()
    evcam.close()
    assert len(tasks(file)) == 50
    assert len(aside(file)) >= 1


def test_what_belongs_to_a_damaged_file_goes_with_it(file):
    written(file, life("sent"))
    damage(file)
    for suffix in ("-wal", "-shm"):
        file.with_name(f"ledger.db{suffix}").write_bytes(b"left over")
    touch(file)
    names = aside(file)
    assert names == [f"{names[0]}{suffix}" for suffix in ("", "-shm", "-wal")]


@pytest.mark.parametrize("content", [b"[settings]\n" * 100, b"\0" * 5000])
def test_a_file_that_may_be_anything_is_left_alone(tmp_path, content):
    file = tmp_path / "settings.conf"
    file.write_bytes(content)
    for call in (check, touch):
        with pytest.raises(OutputError, match="is not an SQLite database") as raised:
            call(file)
        assert "left as it is" in raised.value.hint
    assert file.read_bytes() == content
    assert not aside(file)


# --- a locked file, a full disk ------------------------------------------------------


def test_on_a_full_disk_nothing_is_half_written_and_nothing_lost(file):
    evcam = Evcam(file)
    evcam.hear(life("sent", uuid="before"))
    evcam.shoot()
    size = sum(path.stat().st_size for path in file.parent.iterdir())
    evcam.hear([e for n in range(2000) for e in life("sent", "failed", uuid=f"u{n}")])
    with full_disk(size + 20_000), pytest.raises(OutputError, match="cannot write"):
        evcam.shoot()
    assert tasks(file) == ["before"]
    evcam.shoot()
    evcam.close()
    assert len(tasks(file)) == 2001
    assert query(file, "PRAGMA integrity_check") == [("ok",)]


# --- by name ------------------------------------------------------------------------


def test_its_options_are_given_with_the_name_or_apart():
    def made(name, **options):
        return load_camera(name, options=options)(State(), timer=object())

    def kept(camera):
        return camera.keep, camera.keep_failed, camera.keep_tasks, camera.pending.max_bytes

    camera = made("sqlite:x.db?keep=1d&keep_failed=2d", keep_tasks="0", max_waiting="1M")
    assert camera.path == Path("x.db")
    assert kept(camera) == (86_400.0, 172_800.0, 0, 1024 * 1024)
    made("sqlite", path="x.db", busy_timeout="100ms")
    with pytest.raises(UsageError, match="sqlite needs path"):
        made("sqlite")
    with pytest.raises(UsageError, match="no option kep") as raised:
        made("sqlite:x.db?kep=1d")
    known = "path, busy_timeout, keep, keep_failed, keep_tasks, max_waiting, spool, spool_size"
    assert raised.value.hint == f"it has: {known}"


def test_everything_it_needs_is_imported_when_it_is_made(tmp_path):
    assert imported_late(f"sqlite:{tmp_path}/ledger.db") == []


# --- with a spool ---------------------------------------------------------------------


def test_by_way_of_a_spool_the_same_rows_are_written(file, monkeypatch):
    events = [event for n in range(30) for event in life("sent", "received", uuid=f"u{n:02}")]
    direct = written(file, events, life("started", start=12.0, uuid="u05"))
    monkeypatch.setattr(store, "BATCH_EVENTS", 7)
    monkeypatch.setattr(store, "RECORD_EVENTS", 3)
    other = file.with_name("other.db")
    evcam = Evcam(other, spool=str(file.with_name("spool")))
    evcam.camera.open_spool()
    evcam.hear(events)
    evcam.shoot()
    evcam.hear(life("started", start=12.0, uuid="u05"))
    evcam.camera.persist()
    evcam.close()
    assert [row["state"] for row in contents(other)["tasks"]] == ["RECEIVED"] * 30
    again = Evcam(other, spool=str(file.with_name("spool")))
    again.camera.open_spool()
    again.shoot()
    again.close()
    spooled = contents(other)
    assert spooled["tasks"] == direct["tasks"]
    assert spooled["workers"] == direct["workers"]
    # Of a snapshot there is one row, however many batches it was written in.
    assert [row["events"] for row in spooled["snapshots"]] == [60, 1]
    assert "stopped" in str(spooled["snapshots"][1]["gaps"])
