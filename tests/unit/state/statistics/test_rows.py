import pytest

from evtools.state.statistics.rows import (
    EVENTS,
    FAILED,
    PUBLISHED,
    RECEIVED,
    RETRIED,
    SUCCEEDED,
    WORKER,
    QueueStatistics,
    Totals,
    TypeStatistics,
    WorkerStatistics,
    run_cell,
    wait_cell,
)

CELLS = {
    PUBLISHED: 40,
    RECEIVED: 30,
    SUCCEEDED: 15,
    FAILED: 5,
    RETRIED: 2,
    EVENTS: 100,
    run_cell(2.0): 20,
    wait_cell(0.5): 20,
}


def test_a_type_has_counts_and_rates():
    row = TypeStatistics("t", CELLS, 10.0, 3)
    assert row.counts == {
        "received": 30,
        "started": 0,
        "succeeded": 15,
        "failed": 5,
        "retried": 2,
        "revoked": 0,
        "rejected": 0,
        "cancelled": 0,
    }
    assert row.running == 3
    assert row.rate == 2.0
    assert row.failure_share == 0.25
    assert row.run.count == row.wait.count == 20
    assert row.run.p50 == pytest.approx(2.0, rel=0.05)
    assert row.wait.p99 == pytest.approx(0.5, rel=0.05)
    assert repr(row) == f"<TypeStatistics 't': {row.counts}>"


def test_where_nothing_completed_no_share_failed():
    assert TypeStatistics("t", {RECEIVED: 4}, 10.0, 0).failure_share is None


def test_a_worker_has_a_rate():
    assert WorkerStatistics("w", CELLS, 10.0).ok_rate == 1.5


def test_a_queue_has_rates_and_consumers():
    row = QueueStatistics("q", CELLS | {WORKER: 7, WORKER + 3: 1}, 10.0, 10, "")
    assert (row.published, row.published_rate) == (40, 4.0)
    assert (row.received, row.received_rate) == (30, 3.0)
    assert row.consumers == 2
    assert row.backlog == 10


def test_all_together_have_rates():
    row = Totals("", CELLS, 10.0)
    assert (row.event_rate, row.ok_rate, row.fail_rate) == (10.0, 1.5, 0.5)
    assert row.retry_rate == 0.2
