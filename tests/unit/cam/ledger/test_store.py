from evtools.cam.ledger.store import Expired
from evtools.cam.ledger.tables import TASKS


def test_whatever_is_old_expires_unless_only_successes_shall():
    assert not Expired(TASKS, "last_heard", "2026-01-01").successes_only
