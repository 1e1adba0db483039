import math

from hypothesis import given
from hypothesis import strategies as st

from evtools.cam.tapetime import TapeTime


def at(moment):
    return {"type": "x", "local_received": moment}


class Shots:
    """Something due every ten seconds."""

    def __init__(self, tape, every=10.0):
        self.tape, self.every = tape, every
        self.due = math.inf
        self.seen = []

    def play(self, moments):
        for events, moment in self.tape.pieces([at(each) for each in moments], lambda: self.due):
            self.seen.append(([event["local_received"] for event in events], moment))
            self.tape.move(moment)
            if self.due == math.inf:
                self.due = moment + self.every
            if self.due <= moment:
                self.due += self.every * ((moment - self.due) // self.every + 1)
        return self.seen


def test_before_the_first_event_there_is_no_time():
    tape = TapeTime()
    assert (tape.has_begun, tape.wall(), tape.monotonic()) == (False, 0.0, 0.0)
    tape.move(5.0)
    assert (tape.has_begun, tape.wall(), tape.monotonic()) == (True, 5.0, 5.0)


def test_it_never_goes_back():
    tape = TapeTime()
    tape.move(5.0)
    tape.move(4.0)
    assert tape.wall() == 5.0


def test_events_are_cut_where_something_is_due():
    shots = Shots(TapeTime())
    shots.play([100.0])
    assert shots.due == 110.0
    shots.seen.clear()
    assert shots.play([105.0, 110.0, 111.0, 119.0, 125.0]) == [
        ([105.0], 110.0),
        ([110.0, 111.0, 119.0], 125.0),
        ([125.0], 125.0),
    ]
    assert shots.due == 130.0


def test_a_batch_in_which_nothing_is_due_is_one_piece():
    shots = Shots(TapeTime())
    shots.play([100.0])
    assert shots.play([101.0, 102.0])[2:] == [([101.0, 102.0], 102.0)]


def test_where_time_begins_is_a_cut():
    shots = Shots(TapeTime())
    assert shots.play([None, 100.0, 101.0, 110.0]) == [
        ([None], 100.0),
        ([100.0, 101.0], 110.0),
        ([110.0], 110.0),
    ]


def test_a_batch_may_begin_with_what_is_due():
    shots = Shots(TapeTime())
    shots.play([100.0])
    shots.seen.clear()
    assert shots.play([150.0]) == [([], 150.0), ([150.0], 150.0)]


def test_no_events_are_no_piece():
    assert list(TapeTime().pieces([], lambda: 0.0)) == []


def test_events_without_an_honest_time_come_with_those_before_them():
    shots = Shots(TapeTime())
    odd = [None, "x", True, 1e300, math.inf, math.nan, -5.0]
    assert shots.play([100.0, *odd])[1] == ([100.0, *odd], 100.0)
    assert shots.tape.wall() == 100.0


def test_a_recording_without_any_time_stays_before_it():
    tape = TapeTime()
    assert [moment for _, moment in tape.pieces([at(None)], lambda: 1.0)] == [0.0]


@given(
    st.lists(
        st.lists(st.one_of(st.floats(), st.integers(), st.none(), st.text()), max_size=20),
        max_size=5,
    )
)
def test_whatever_is_on_it_all_events_are_given_out_in_order(batches):
    shots = Shots(TapeTime())
    for batch in batches:
        shots.play(batch)
    given_out = [repr(each) for events, _ in shots.seen for each in events]
    assert given_out == [repr(each) for batch in batches for each in batch]
    moments = [moment for _, moment in shots.seen]
    assert moments == sorted(moments)
