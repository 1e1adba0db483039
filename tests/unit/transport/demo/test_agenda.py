import pytest

from evtools.transport.demo.agenda import Agenda


@pytest.fixture
def agenda():
    return Agenda()


def test_what_is_due_happens_in_the_order_of_time(agenda):
    happened = []
    for name, delay in (("b", 2), ("a", 1), ("c", 2), ("d", 9)):
        agenda.after(delay, lambda name=name: happened.append((name, agenda.now)))
    agenda.play(5)
    assert happened == [("a", 1), ("b", 2), ("c", 2)]
    assert agenda.now == 5


def test_what_happens_may_lead_to_more(agenda):
    moments = []

    def again():
        moments.append(agenda.now)
        agenda.after(1, again)

    agenda.after(1, again)
    agenda.play(3.5)
    assert moments == [1, 2, 3]


def test_the_pause_lasts_until_something_is_due(agenda):
    assert agenda.pause(0) == 0
    agenda.after(3, list)
    assert agenda.pause(1) == 2
    assert agenda.pause(4) == 0
