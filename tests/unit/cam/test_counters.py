from dataclasses import asdict

from evtools.cam.counters import Counters


def test_nothing_has_happened_at_first():
    counters = Counters(started=1000.0)
    assert counters.shots.taken == counters.events == counters.failures_in_row == 0
    assert counters.last_shot_at is counters.busy_since is None
    assert asdict(counters)["shots"] == {"taken": 0, "skipped_rate": 0, "overrun": 0, "failed": 0}


def test_no_two_evcams_share_their_counts():
    one, other = Counters(), Counters()
    one.shots.taken += 1
    one.events_by_type["x"] = 1
    assert (other.shots.taken, other.events_by_type) == (0, {})
