import pytest

from evtools.cam.rate import TokenBucket, rate
from evtools.errors import UsageError
from tools.clock import FakeClock


@pytest.mark.parametrize(
    ("text", "per_second"),
    [
        ("10/m", 10 / 60),
        ("100/s", 100),
        ("2/h", 2 / 3600),
        ("0.5", 0.5),
        (" 3 / m ", 0.05),
        (4, 4.0),
        (0.25, 0.25),
    ],
)
def test_rates_are_written_as_celery_has_them(text, per_second):
    assert rate(text) == per_second


@pytest.mark.parametrize(
    "text", ["", "x", "1/d", "/m", "0", "-1/s", "nan", "inf/s", "1/m/m", "\x1b[31m"]
)
def test_what_is_no_rate_is_refused_in_a_line_that_is_safe_to_print(text):
    with pytest.raises(UsageError, match="is no rate") as caught:
        rate(text)
    assert caught.value.message.isprintable()


def test_a_bucket_lets_pass_one_at_a_time():
    clock = FakeClock()
    bucket = TokenBucket(rate("10/m"), clock=clock)
    passed = []
    for _ in range(60):
        passed.append(bucket.can_consume())
        clock.now += 1.0
    assert sum(passed) == 10
    assert passed[:7] == [True, *[False] * 5, True]


def test_who_is_a_moment_early_is_not_refused_and_yet_the_rate_holds():
    clock = FakeClock()
    bucket = TokenBucket(rate("10/m"), clock=clock)
    for wait in (5.97, 6.03) * 50:
        assert bucket.can_consume()
        clock.now += wait
    passed = 0
    for _ in range(6000):
        clock.now += 0.1
        passed += bucket.can_consume()
    assert passed == 100


def test_waiting_at_its_brim_earns_nothing():
    clock = FakeClock()
    bucket = TokenBucket(1.0, clock=clock)
    clock.now += 3600
    assert [bucket.can_consume(), bucket.can_consume()] == [True, False]


def test_a_larger_bucket_can_be_emptied_at_once():
    clock = FakeClock()
    bucket = TokenBucket(1.0, capacity=3, clock=clock)
    assert bucket.can_consume(2)
    assert not bucket.can_consume(2)
    assert bucket.can_consume()
    clock.now += 2
    assert bucket.can_consume(2)


def test_it_has_a_clock_of_its_own():
    assert TokenBucket(1.0).can_consume()
