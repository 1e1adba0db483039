"""The metrics of evcam itself."""

from prometheus_client.parser import text_string_to_metric_families

from evtools import __version__
from evtools.cam.counters import Counters, Shots
from evtools.cam.metrics import evcam
from evtools.cam.metrics.evcam import ENTRIES, own_families
from evtools.cam.metrics.exposition import render
from evtools.transport import Statistics
from evtools.wire import Defect


def told(counters=None, statistics=None):
    """Return all figures by name and the value of the label, if there is one."""
    families = own_families(counters or Counters(), statistics or Statistics())
    found = {}
    for family in families:
        for suffix, labels, value in family.samples:
            values = [value for _, value in labels]
            found[family.name + suffix, *values] = value
    return found


def test_it_says_which_evcam_it_is():
    (about,) = [key for key in told() if key[0] == "evcam_build_info"]
    assert __version__ in about


def test_it_is_up():
    assert told()["evcam_up",] == 1


def test_events_are_told_by_type():
    found = told(Counters(events_by_type={"task-sent": 3, "a\x1b": 1, "a\\x1b": 2}))
    assert found["evcam_events_total", "task-sent"] == 3
    assert found["evcam_events_total", "a\\x1b"] == 3


def test_losses_are_told_apart():
    statistics = Statistics(
        dropped=3,
        missed=4,
        gaps=2,
        gap_seconds=7.5,
        reconnects=1,
        connected=True,
        defects=(Defect("strange", b"", count=5),),
    )
    found = told(statistics=statistics)
    assert found["evcam_events_lost_total", "dropped"] == 3
    assert found["evcam_events_lost_total", "missed"] == 4
    assert found["evcam_gap_seconds_total",] == 7.5
    assert found["evcam_gaps_total",] == 2
    assert found["evcam_reconnects_total",] == 1
    assert found["evcam_malformed_total",] == 5
    assert found["evcam_connected",] == 1


def test_shots_are_told_by_how_they_ended():
    shots = Shots(taken=1, skipped_rate=2, overrun=3, failed=4)
    counters = Counters(shots=shots, cleanups=3, cleanups_failed=1, last_success_at=9.0, tasks=7)
    found = told(counters)
    for number, result in enumerate(["taken", "skipped_rate", "overrun", "failed"], 1):
        assert found["evcam_snapshots_total", result] == number
    assert found["evcam_cleanups_total", "done"] == 2
    assert found["evcam_cleanups_total", "failed"] == 1
    assert found["evcam_last_success_timestamp_seconds",] == 9.0
    assert found["evcam_state_tasks",] == 7


def test_what_is_not_known_is_left_out():
    names = {name for name, *_ in told()}
    assert "evcam_lag_seconds" not in names
    assert "evcam_events_total" not in names
    assert ("evcam_lag_seconds",) in told(Counters(lag=0.5))


def test_it_says_what_it_costs():
    found = told(Counters(started=5.0))
    assert found["process_cpu_seconds_total",] > 0
    assert found["process_resident_memory_bytes",] > 1_000_000
    assert found["process_start_time_seconds",] == 5.0


def test_where_nobody_tells_its_memory_is_not_told(monkeypatch, tmp_path):
    for text in (None, "", "x y"):
        statm = tmp_path / "statm"
        if text is not None:
            statm.write_text(text)
        monkeypatch.setattr(evcam, "_STATM", statm)
        assert ("process_resident_memory_bytes",) not in told()


def test_no_name_comes_twice_and_all_of_it_can_be_read():
    names = [entry.name for entry in ENTRIES]
    assert len(names) == len(set(names))
    counters = Counters(lag=1.0, last_success_at=1.0, last_event_at=1.0, last_shot_seconds=1.0)
    text = render(own_families(counters, Statistics())).decode()
    assert len(list(text_string_to_metric_families(text))) >= len(names)


def test_helps_are_one_line_of_plain_text():
    for entry in ENTRIES:
        assert entry.help.isascii()
        assert entry.help.isprintable()
        assert entry.help.endswith(".")
