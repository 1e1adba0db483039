from evtools.cam.ledger.retention import Retention
from evtools.cam.ledger.store import Expired
from evtools.cam.ledger.tables import SNAPSHOTS, TASKS, WORKERS


class Store:
    """Says where the newest so many rows begin, and notes how many that are."""

    def __init__(self, boundary=None):
        self.asked = []
        self._boundary = boundary

    def boundary(self, table, column, keep):
        self.asked.append((table.name, column, keep))
        return self._boundary


def expired(store=None, **keep):
    return list(Retention(**keep).expired(store or Store(), 1000.0))


NOTHING = {"keep": 0, "keep_failed": 0, "keep_tasks": 0}


def test_what_succeeded_goes_before_what_did_not():
    assert expired(keep=10.0, keep_failed=20.0, keep_tasks=0) == [
        Expired(TASKS, "last_heard", "1970-01-01T00:16:30.000000Z", True),
        Expired(WORKERS, "last_heard", "1970-01-01T00:16:30.000000Z"),
        Expired(SNAPSHOTS, "at", "1970-01-01T00:16:30.000000Z"),
        Expired(TASKS, "last_heard", "1970-01-01T00:16:20.000000Z"),
    ]


def test_nothing_goes_that_is_kept_for_ever():
    assert expired(**NOTHING) == []
    assert len(expired(**NOTHING | {"keep_failed": 1.0})) == 1


def test_more_tasks_than_are_kept_go_however_new_they_are():
    store = Store("2026-01-01T00:00:00.000000Z")
    assert expired(store, **NOTHING | {"keep_tasks": 7}) == [
        Expired(TASKS, "last_heard", "2026-01-01T00:00:00.000000Z")
    ]
    assert store.asked == [("tasks", "last_heard", 7)]
    assert expired(Store(None), **NOTHING | {"keep_tasks": 7}) == []


def test_what_is_kept_for_longer_than_there_is_time_is_kept():
    before = [each.before for each in expired(keep=1e6, keep_failed=1e12, keep_tasks=0)]
    assert before == ["1969-12-20T10:30:00.000000Z"] * 3
