import pytest

from evtools.state.statistics.statistics import REACH, Flow

#: The beginning of a column, however wide they are.
T = 300.0 * 3_333_333


def test_the_newest_second_that_is_over_is_last():
    flow = Flow()
    for second, count in enumerate((5, 6, 7)):
        flow.add(T + second, count)
    assert flow.rates(REACH, T + 2.5)[-3:] == [0, 5, 6]


def test_what_came_in_one_second_adds_up():
    flow = Flow()
    flow.add(T + 0.1, 2)
    flow.add(T + 0.9, 3)
    assert flow.rates(REACH, T + 1)[-1] == 5


def test_what_comes_out_of_order_counts_as_of_now():
    flow = Flow()
    flow.add(T + 1, 2)
    flow.add(T, 3)
    assert flow.rates(REACH, T + 2)[-2:] == [0, 5]


def test_columns_are_means_over_their_seconds():
    flow = Flow()
    for second in range(60):
        flow.add(T + second, 2 if second < 30 else 4)
    rates = flow.rates(10, T + 60)
    assert len(rates) == 10
    assert rates[-2:] == [2, 4]
    assert set(rates[:-2]) == {0}


def test_the_last_column_is_a_mean_over_the_seconds_it_has():
    flow = Flow()
    for second in range(35):
        flow.add(T + second, 6)
    assert flow.rates(10, T + 35)[-2:] == [6, 6]


def test_columns_stand_still_until_the_next_one_begins():
    flow = Flow()
    for second in range(30):
        flow.add(T + second, second)
    before = flow.rates(10, T + 31)
    assert flow.rates(10, T + 60)[:-1] == before[:-1]
    assert flow.rates(10, T + 61)[:-1] == before[1:]


@pytest.mark.parametrize("columns", [1, 7, 26, 299, 300, 301, 1000])
def test_any_number_of_columns_can_be_had(columns):
    flow = Flow()
    for second in range(400):
        flow.add(T + second, 1)
    rates = flow.rates(columns, T + 400)
    assert len(rates) == columns
    assert rates[-1] == 1
    assert max(rates) == 1


def test_no_columns_are_no_columns():
    assert Flow().rates(0, T) == []


def test_the_peak_is_of_the_last_five_minutes():
    flow = Flow()
    assert flow.peak(T) == 0
    flow.add(T, 50)
    flow.add(T + 10, 20)
    assert flow.peak(T + 11) == 50
    assert flow.peak(T + REACH + 1) == 20
    assert flow.peak(T + REACH + 11) == 0


def test_what_is_kept_is_bounded():
    flow = Flow()
    for second in range(10_000):
        flow.add(T + second, 1)
    assert len(flow._seconds) <= REACH + 1
