from random import Random
from uuid import UUID

import pytest

from evtools.transport.demo.kinds import BY_NAME
from evtools.transport.demo.task import end_of, make_task, traceback

NOW = 1_700_000_000.0
MAIL = BY_NAME["shop.mail.send"]


def test_a_task_tells_what_celery_tells():
    task = make_task(Random(1), MAIL, NOW)
    assert UUID(task.uuid).version == 4
    assert task.told() == {
        "uuid": task.uuid,
        "name": "shop.mail.send",
        "args": task.args,
        "kwargs": "{}",
        "retries": 0,
        "eta": None,
        "expires": None,
        "root_id": task.uuid,
        "parent_id": None,
    }


def test_delays_and_deadlines_are_told_in_utc():
    remind = make_task(Random(1), BY_NAME["shop.offers.remind"], NOW)
    assert remind.told()["eta"] == "2023-11-14T22:13:35+00:00"
    report = make_task(Random(1), BY_NAME["shop.reports.build"], NOW)
    assert report.told()["expires"] == "2023-11-14T22:13:40+00:00"


def test_children_know_their_parent_and_their_root():
    root = make_task(Random(1), BY_NAME["shop.orders.fulfil"], NOW)
    child = make_task(Random(2), BY_NAME["shop.orders.pack"], NOW, root)
    grandchild = make_task(Random(3), BY_NAME["shop.orders.label"], NOW, child)
    told = grandchild.told()
    assert (told["parent_id"], told["root_id"]) == (child.uuid, root.uuid)


def test_a_retry_is_the_same_task_later():
    task = make_task(Random(1), MAIL, NOW)
    retry = task.retry(NOW)
    assert (retry.uuid, retry.retries) == (task.uuid, 1)
    assert retry.eta > NOW


def test_a_redelivery_is_the_same_task_and_another_delivery():
    task = make_task(Random(1), MAIL, NOW)
    assert task.again().told() == task.told()
    assert task.again() is not task
    assert task.again() != task


def test_ends_come_by_their_shares():
    rng = Random(1)
    ends = [end_of(rng, MAIL) for _ in range(1000)]
    retried = sum(end is not None for end in ends)
    assert retried == pytest.approx(1000 * MAIL.ends[0].share, rel=0.2)


@pytest.mark.parametrize(
    ("exception", "last"), [("E('declined')", "E: 'declined'"), ("MemoryError()", "MemoryError")]
)
def test_a_traceback_ends_with_its_exception(exception, last):
    lines = traceback(MAIL, exception).splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert exception in lines[2]
    assert lines[-1] == last
