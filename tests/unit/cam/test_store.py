"""Events on their way into a store: in order, in bounded batches, each as often as it needs."""

import pytest

from evtools.cam import store as module
from evtools.cam.store import StoreCamera
from evtools.errors import OutputError
from evtools.state import State
from tools.told import life, told


class Shop(StoreCamera):
    """Keep the batches that came; be away for as many calls as `away` says."""

    away = 0

    def __init__(self, state, **options):
        super().__init__(state, **options)
        self.stored, self.refused = [], []

    def store(self, batch):
        if self.away:
            self.away -= 1
            self.refused.append(batch)
            raise OutputError("the shop is closed")
        self.stored.append(batch)

    def describe(self):
        return "shop"

    def receive(self, *events):
        self.observe(self.state.changes(events))

    @property
    def uuids(self):
        return [event.uuid for batch in self.stored for event in batch.events]


@pytest.fixture
def made(timer):
    def make(cluster="", **options):
        return Shop(State(cluster=cluster), timer=timer, **options)

    return make


def tasks(*uuids, **fields):
    return [told("task-received", uuid=uuid, **fields) for uuid in uuids]


def shoot(camera):
    """Take a snapshot; return whether it was written."""
    try:
        camera.capture()
    except OutputError:
        return False
    return True


def test_events_that_change_something_come_in_order_and_once(made):
    camera = made()
    camera.receive(*life("received", "started"), told("worker-heartbeat"), told("shop-opened"))
    camera.capture()
    camera.capture()
    [batch, nothing] = camera.stored
    kinds = ["task-received", "task-started", "worker-heartbeat"]
    assert [event.type for event in batch.events] == kinds
    # Of a quiet period there is a batch, too: it says what that missed.
    assert ([*nothing.events], nothing.info.sequence) == ([], 2)
    assert batch.token != nothing.token


def test_batches_are_bounded_by_events_and_bytes(made, monkeypatch):
    monkeypatch.setattr(module, "BATCH_EVENTS", 3)
    camera = made()
    camera.receive(*tasks(*"abcdefgh"))
    camera.capture()
    assert [len(batch.events) for batch in camera.stored] == [3, 3, 2]
    monkeypatch.setattr(module, "BATCH_BYTES", 10_000)
    camera.receive(*tasks(*"ijk", args="x" * 8_000))
    camera.capture()
    assert [len(batch.events) for batch in camera.stored[3:]] == [1, 1, 1]
    assert camera.uuids == list("abcdefghijk")
    assert len({batch.token for batch in camera.stored}) == 6


def test_a_batch_that_failed_comes_again_as_it_was_before_what_came_later(made, monkeypatch):
    monkeypatch.setattr(module, "BATCH_EVENTS", 2)
    camera = made()
    camera.receive(*tasks(*"abcd"))
    camera.capture()
    camera.receive(*tasks(*"efg"))
    camera.away = 2
    assert not shoot(camera)
    camera.receive(*tasks("h"))
    assert not shoot(camera)
    assert shoot(camera)
    assert camera.refused[0] is camera.refused[1] is camera.stored[2]
    assert camera.uuids == list("abcdefgh")
    # What was not written is in the period of the next one.
    assert [batch.info.sequence for batch in camera.stored] == [1, 1, 2, 2]


def test_the_oldest_events_go_when_too_many_wait_which_is_counted_once(made, log):
    camera = made(max_waiting=5_000)
    camera.receive(*tasks("a", args="x" * 3_000), *tasks("b", args="x" * 3_000), *tasks("c"))
    camera.away = 1
    assert not shoot(camera)
    assert shoot(camera)
    assert camera.uuids == ["b", "c"]
    assert [batch.lost for batch in camera.stored] == [1, 0]
    words = "shop: 1 events were dropped, as too many waited to be written"
    assert log().count(words) == 1


def test_odd_and_custom_events_count_with_all_that_is_in_them(made):
    camera = made(max_waiting=20_000)
    large = {"x": "y" * 30_000}
    camera.receive(told("task-progress", uuid="a", **large), *tasks("b", retries=large))
    camera.receive(told("worker-heartbeat", sw_ident="z" * 30_000))
    camera.receive(*tasks("c"))
    camera.capture()
    [batch] = camera.stored
    assert (camera.uuids, batch.lost) == (["c"], 3)


def test_of_several_clusters_one_writes_all_and_keeps_what_failed_apart(made):
    camera, other = made("a"), made("b")
    camera.lead([camera, other])
    for each in (camera, other):
        each.share(2)
        each.receive(*tasks(f"{each.state.cluster}1"))
    other.away = 5  # it has no connection of its own
    camera.away = 1
    assert not shoot(camera)
    camera.receive(*tasks("a2"))
    assert shoot(camera)
    assert camera.uuids == ["a1", "a2", "b1"]
    assert [batch.cluster for batch in camera.stored] == ["a", "a", "b"]


def test_clocks_that_are_off_by_seconds_go_with_the_events(made):
    camera = made()
    camera.receive(told("worker-heartbeat", timestamp=20.0, local_received=10.0))
    camera.capture()
    assert camera.stored[0].ahead == {"celery@one": 10}
