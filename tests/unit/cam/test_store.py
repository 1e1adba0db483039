"""Events on their way into a store: in order, in bounded batches, each as often as it needs."""

import resource

import pytest

from evtools.cam import store as module
from evtools.cam.snapshot import SnapshotSequence
from evtools.cam.store import StoreCamera
from evtools.errors import OutputError, UsageError
from evtools.state import State
from evtools.wire import from_fields, gap
from tools.clock import FakeClock
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
        return self.persist()

    @property
    def uuids(self):
        return [event.uuid for batch in self.stored for event in batch.events]


@pytest.fixture
def made(timer):
    made = []

    def make(cluster="", **options):
        made.append(Shop(State(cluster=cluster), timer=timer, **options))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture
def spooling(made, tmp_path):
    """Return a camera that begins to use the spool, once the one before has ended."""
    made_before = []

    def make(now=100.0, **options):
        for each in made_before:
            each.close()
        camera = made(spool=str(tmp_path / "spool"), **options)
        made_before.append(camera)
        camera.load(SnapshotSequence(camera.state.workers, started=now), FakeClock(now))
        camera.open_spool()
        return camera

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


# --- with a spool ---------------------------------------------------------------------


def gaps(batch):
    return [(each.reason, each.start, each.end, each.dropped) for each in batch.info.gaps]


def test_events_come_out_of_the_spool_as_they_went_in(spooling):
    camera = spooling()
    odd = told("task-received", uuid="b", retries="many", note={"x": [1, "\u202e"]})
    events = [*life("sent", "received", "succeeded"), told("worker-heartbeat"), odd]
    assert camera.receive(*events, told("task-progress", percent=5, args="\udc80"))
    camera.capture()
    [batch] = camera.stored
    *plain, custom = [event.as_dict() for event in batch.events]
    assert plain == [from_fields(event).as_dict() for event in events]
    assert (custom["type"], custom["percent"]) == ("task-progress", 5)
    assert camera.spool.waiting == 0


@pytest.mark.parametrize("remembered", [None, b"?"])
def test_clocks_are_known_to_the_next_evcam_for_what_came_before_it(spooling, remembered):
    camera = spooling()
    camera.receive(told("worker-heartbeat", timestamp=20.0, local_received=10.0))
    camera.away = 1
    assert not shoot(camera)
    if remembered is not None:
        (camera.spool.folder / "remembered").write_bytes(remembered)
    camera = spooling(now=200.0)
    assert shoot(camera)
    camera.receive(*tasks("a"))
    assert shoot(camera)
    expected = {"celery@one": 10} if remembered is None else {}
    assert [batch.ahead for batch in camera.stored] == [expected, {}]


def test_what_was_not_stored_is_the_first_that_the_next_evcam_stores(spooling, monkeypatch):
    monkeypatch.setattr(module, "BATCH_EVENTS", 3)
    monkeypatch.setattr(module, "RECORD_EVENTS", 1)
    camera = spooling()
    camera.receive(*tasks(*"abcdefg"))
    camera.away = 1
    assert not shoot(camera)
    refused = camera.refused[0]
    camera = spooling(now=200.0)
    camera.receive(*tasks("h", local_received=201.0))
    assert shoot(camera)
    assert camera.uuids == list("abcdefgh")
    first = camera.stored[0]
    assert (first.token, [*first.events]) == (refused.token, [*refused.events])
    # What came meanwhile is not known, and that is said once.
    assert gaps(first) == [("stopped", 10.25, 200.0, 0)]
    assert shoot(camera)
    assert gaps(camera.stored[-1]) == []
    camera = spooling(now=300.0)
    camera.capture()
    assert gaps(camera.stored[0]) == [("stopped", 201.0, 300.0, 0)]


@pytest.mark.parametrize(("now", "expected"), [(109.0, 0), (111.0, 1)])
def test_events_that_the_broker_has_kept_meanwhile_are_no_gap(spooling, monkeypatch, now, expected):
    spooling().receive(*tasks("a", local_received=100.0))
    monkeypatch.setattr(Shop, "kept_for", 10.0)
    camera = spooling(now=now)
    camera.capture()
    assert len(camera.stored[0].info.gaps) == expected


def test_gaps_that_were_not_stored_are_known_to_the_next_evcam(spooling):
    camera = spooling()
    record = gap("reconnect", 50.0, 60.0)
    camera.receive(*tasks("a", local_received=99.0), record)
    camera.away = 1
    assert not shoot(camera)
    camera = spooling(now=200.0)
    camera.capture()
    assert [event.type for event in camera.stored[0].events] == ["task-received"]
    expected = [("reconnect", 50.0, 60.0, 0), ("stopped", 99.0, 200.0, 0)]
    assert gaps(camera.stored[0]) == expected
    camera = spooling(now=201.0)
    camera.capture()
    assert [each[0] for each in gaps(camera.stored[0])] == ["stopped"]


def test_a_batch_that_failed_is_stored_as_it_was_and_later_gaps_with_the_next(spooling):
    camera = spooling()
    camera.receive(*tasks("a"))
    camera.away = 1
    assert not shoot(camera)
    camera.receive(gap("reconnect", 50.0, 60.0))
    camera._sequence.note(gap("reconnect", 50.0, 60.0))
    assert shoot(camera)
    assert camera.stored[0] is camera.refused[0]
    assert [*map(gaps, camera.stored)] == [[], [("reconnect", 50.0, 60.0, 0)]]


def test_what_a_full_spool_drops_is_a_gap_of_the_next_snapshot(spooling):
    camera = spooling(spool_size=2**20)
    camera.away = 1
    camera.receive(*tasks("a", args="x" * 50_000, local_received=99.0))
    assert not shoot(camera)
    for number in range(40):
        camera.receive(*tasks(f"b{number}", args="x" * 50_000, local_received=100.0 + number))
    assert shoot(camera)
    found = [each for batch in camera.stored for each in gaps(batch)]
    dropped = sum({each[:3]: each[3] for each in found}.values())
    assert (found[0][:2], {each[0] for each in found}) == (("buffer", 99.0), {"buffer"})
    assert len(camera.uuids) == 41 - dropped < 41
    assert camera.uuids[-1] == "b39"


def test_of_a_full_disk_each_snapshot_has_one_gap_and_what_fits_is_stored(spooling):
    camera = spooling(max_waiting=10_000)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5_000, before[1]))
    try:
        for number in range(50):
            camera.receive(*tasks(f"u{number:02}", local_received=100.0 + number))
        camera.capture()
        camera.capture()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    found = [each for batch in camera.stored for each in gaps(batch)]
    assert len({*found}) <= 2
    lost = {f"u{number - 100:02.0f}" for _, *ends, _ in found for number in range(*map(int, ends))}
    lost |= {f"u{last - 100:02.0f}" for _, _, last, _ in found}
    assert len(lost) == camera.spool.dropped > 0
    assert camera.uuids == [f"u{n:02}" for n in range(50) if f"u{n:02}" not in lost]


def test_events_that_are_delivered_again_are_left_out_if_they_are_in_the_spool(spooling):
    camera = spooling()
    camera.receive(*tasks(*"ab"))
    camera.capture()
    camera.receive(*tasks("c"))
    camera = spooling()
    again = [from_fields(event) for event in tasks(*"abcd")]
    assert [event.uuid for event in camera.unrepeated(again)] == ["d"]
    camera.receive(*tasks("d"))
    assert camera.unrepeated(again) == []


def test_without_the_loop_nothing_is_written_into_the_spool(made, tmp_path):
    camera = made(spool=str(tmp_path / "spool"))
    camera.check()
    camera.observe(camera.state.changes(tasks("a")))
    taken = camera.snapshot(camera._sequence.next(1.0))
    assert [each["uuid"] for each in taken.as_dict()["events"]] == ["a"]
    assert not (tmp_path / "spool").exists()


def test_of_several_clusters_each_has_a_folder_of_its_own_and_a_part(made, tmp_path):
    cameras = [made(name, spool=str(tmp_path), spool_size=2**24) for name in ("a", "b", "")]
    cameras[0].lead(cameras)
    for each in cameras:
        each.share(3)
    cameras[0].install()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["_unnamed", "a", "b"]
    assert {each.spool.max_bytes for each in cameras} == {2**24 // 3}
    with pytest.raises(UsageError, match="spool_size 9 is too small"):
        made(spool="x", spool_size=9)


def test_what_is_left_of_a_cluster_that_is_not_recorded_any_more_is_said(made, tmp_path, log):
    for cluster, events in (("old", 2), ("idle", 0), ("", 1)):
        camera = made(cluster, spool=str(tmp_path))
        camera.install()
        camera.receive(*tasks(*"ab"[:events]))
        camera.close()
    camera = made("new", spool=str(tmp_path))
    camera.install()
    said = [text for text in log() if "stay in" in text]
    places = [str(tmp_path / name) for name in ("old", "old", "_unnamed", "old")]
    counts = (2, 2, 1, 2)
    assert said == [
        f"{count} events stay in {place}, of a cluster that is not recorded any more"
        for count, place in zip(counts, places, strict=True)
    ]
