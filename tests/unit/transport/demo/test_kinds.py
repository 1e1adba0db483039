from random import Random

import pytest

from evtools.transport.demo.cast import CAST
from evtools.transport.demo.kinds import BY_NAME, KINDS, QUEUES


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_a_task_type_makes_sense(kind):
    rng = Random(1)
    assert kind.args(rng).startswith("(")
    assert 0 <= sum(end.share for end in kind.ends) < 1
    for end in kind.ends:
        assert end.event in ("failed", "retried", "rejected")
        assert (end.exception is None) == (end.event == "rejected")
        if end.exception is not None:
            assert end.exception(rng).endswith(")")
    assert set(kind.children) <= set(BY_NAME)
    assert kind.weight or any(kind.name in parent.children for parent in KINDS)


def test_every_queue_has_a_worker():
    assert set(QUEUES) == {queue for worker in CAST for queue in worker.queues}


def test_some_arguments_are_not_ascii():
    rng = Random(1)
    assert {BY_NAME["shop.mail.send"].args(rng).isascii() for _ in range(50)} == {True, False}
