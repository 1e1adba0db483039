"""Mutated events through all of evdump's parts; a million of them in `make load`."""

import pytest

from tools.fuzz import Fuzz


@pytest.mark.parametrize("seed", [1, 2])
def test_mutated_events_never_stop_the_line(seed):
    fuzz = Fuzz()
    fuzz.run(seed=seed, count=5_000)
    assert fuzz.events > 4_000
    assert fuzz.injected > 400
