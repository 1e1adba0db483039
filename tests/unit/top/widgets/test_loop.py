import os
import threading

import pytest
import urwid

from evtools.clock import SystemClock
from evtools.top.widgets.loop import REDRAWS_MAX, Bucket, Loop
from tools.clock import FakeClock


class FakeWork:
    """Work that logs what it is asked for and ends after some of it."""

    def __init__(self, loop, *, slices=1, end_after="draw"):
        self.loop = loop
        self.log = []
        self.slices = slices
        self.end_after = end_after
        self.next_refresh = 60.0

    def _note(self, what):
        self.log.append(what)
        if what == self.end_after:
            self.loop.end()

    def take_slice(self):
        self.slices -= 1
        self._note("slice" if self.slices else "last slice")
        return self.slices > 0

    def hear(self):
        self._note("hear")

    def refresh(self):
        self._note("refresh")
        self.loop.draw_soon()
        return self.next_refresh

    def draw(self):
        self._note("draw")


@pytest.fixture
def loop():
    with Loop(SystemClock()) as made:
        yield made


def test_it_begins_with_a_picture(loop):
    work = FakeWork(loop)
    loop.run(work)
    assert work.log == ["refresh", "draw"]


def test_it_is_woken_from_another_thread_and_takes_slice_after_slice(loop):
    work = FakeWork(loop, slices=3, end_after="last slice")
    thread = threading.Thread(target=loop.wake)
    thread.start()
    loop.run(work)
    thread.join()
    assert [entry for entry in work.log if entry not in ("refresh", "draw")] == [
        "hear",
        "slice",
        "slice",
        "last slice",
    ]


def test_many_wakes_are_one(loop):
    for _ in range(1000):
        loop.wake()
    work = FakeWork(loop, end_after="last slice")
    loop.run(work)
    assert work.log.count("hear") == 1


def test_work_that_is_left_does_not_wait_as_events_do(loop):
    work = FakeWork(loop, end_after="nothing")

    def go_on():
        loop._drain_soon()
        loop.work_on()
        loop.events.alarm(0.001, lambda: work.log.append("later"))

    def take_slice():
        work.log.append("slice")
        if work.log.count("slice") == 2:
            loop.end()
        else:
            loop.events.alarm(0, go_on)
        return False

    work.take_slice = take_slice
    loop.wake()
    loop.run(work)
    assert [entry for entry in work.log if entry in ("slice", "later")] == ["slice"] * 2


def test_a_full_pipe_holds_nobody_up(loop):
    for _ in range(100_000):
        loop.wake()


def test_what_is_typed_comes_between_two_slices(loop):
    keyboard, terminal = os.pipe()
    work = FakeWork(loop, slices=3, end_after="last slice")

    def key():
        os.read(keyboard, 1)
        work.log.append("key")

    loop.events.watch_file(keyboard, key)
    take = work.take_slice

    def take_slice():
        more = take()
        if work.slices == 2:
            os.write(terminal, b"x")
        return more

    work.take_slice = take_slice
    loop.wake()
    loop.run(work)
    os.close(keyboard)
    os.close(terminal)
    entries = [entry for entry in work.log if entry in ("slice", "key", "last slice")]
    assert entries == ["slice", "key", "slice", "last slice"]


def test_pictures_that_are_due_together_are_one(loop):
    work = FakeWork(loop)
    for _ in range(5):
        loop.draw_soon()
    loop.run(work)
    assert work.log.count("draw") == 1


def test_an_answer_to_a_key_comes_before_what_else_is_due():
    with Loop(FakeClock()) as loop:
        loop._bucket.take()
        loop.draw_soon()
        late = loop._draws_at
        loop.draw_soon(answer=True)
        soon = loop._draws_at
        loop.draw_soon()
        assert loop._draws_at == soon < late


def test_it_refreshes_again_and_again(loop):
    work = FakeWork(loop, end_after="third")
    times = []

    def refresh():
        times.append(1)
        if len(times) == 3:
            loop.end()
        return 0.001

    work.refresh = refresh
    loop.run(work)
    assert len(times) == 3


def test_something_is_done_later_and_drawn_or_called_off(loop):
    work = FakeWork(loop, end_after="nothing")
    done = []

    def ring():
        done.append("rang")
        loop.later(0.01, loop.end)

    call_off = loop.later(0.001, lambda: done.append("never"))
    loop.later(0.002, ring)
    call_off()
    loop.run(work)
    assert done == ["rang"]
    assert work.log.count("draw") >= 1


def test_what_the_work_raises_ends_the_loop(loop):
    work = FakeWork(loop)

    def refresh():
        raise ValueError("broken")

    work.refresh = refresh
    with pytest.raises(ValueError, match="broken"):
        loop.run(work)


def test_a_loop_that_is_closed_can_still_be_woken():
    with Loop(SystemClock()) as loop:
        pass
    loop.wake()


def test_the_loop_is_urwids(loop):
    assert isinstance(loop.events, urwid.SelectEventLoop)


# --- the bucket -------------------------------------------------------------------


def test_no_more_pictures_than_allowed_in_any_second():
    clock = FakeClock(0.0)
    bucket = Bucket(clock, REDRAWS_MAX - 2, 2)
    drawn = []
    while clock.now < 10:
        clock.now += bucket.wait() + 1e-9
        bucket.take()
        drawn.append(clock.now)
    for start in drawn:
        assert sum(start <= moment < start + 1 for moment in drawn) <= REDRAWS_MAX
    assert len(drawn) > 70


def test_the_picture_after_a_pause_is_not_kept_waiting():
    clock = FakeClock(0.0)
    bucket = Bucket(clock, 8, 2)
    assert bucket.wait() == 0
    bucket.take()
    assert bucket.wait() == 0
    bucket.take()
    assert bucket.wait() == pytest.approx(0.125)
    clock.now += 100
    assert bucket.wait() == 0
