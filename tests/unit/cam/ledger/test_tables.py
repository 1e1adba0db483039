import pytest

from evtools.cam.ledger.tables import ATTEMPTS, TABLES, TASKS


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_keys_indexes_and_owners_are_there(table):
    for columns in (table.key, *table.indexes):
        assert set(columns) <= set(table.columns)
    owner = {each.name: each for each in TABLES}.get(table.owner)
    assert owner is None or owner.key == table.key[:1]
    assert len({each.name for each in TABLES}) == len(TABLES)


def test_a_task_shows_its_newest_attempt_as_attempts_are_shown():
    shared = ATTEMPTS.columns.keys() - {"uuid", "place", "number"}
    assert {TASKS.columns[name] for name in shared} == {ATTEMPTS.columns[name] for name in shared}
