"""The clocks of the machine."""

import time

from evtools.clock import Clock, SystemClock


def test_the_system_clock_tells_the_time_of_the_machine():
    clock: Clock = SystemClock()
    before, before_monotonic = time.time(), time.monotonic()
    wall, monotonic = clock.wall(), clock.monotonic()
    assert before <= wall <= time.time()
    assert before_monotonic <= monotonic <= time.monotonic()
