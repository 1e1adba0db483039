import pytest

from evtools.top import own_cost
from evtools.top.own_cost import OwnCost
from tools.clock import FakeClock


def test_it_measures_our_share_of_a_cpu_between_two_looks(monkeypatch):
    used = [10.0]
    monkeypatch.setattr(own_cost, "_used", lambda: used[0])
    clock = FakeClock()
    cost = OwnCost(clock)
    assert cost.cpu == 0.0
    clock.now += 2
    used[0] += 0.5
    cost.look()
    assert cost.cpu == 0.25
    used[0] += 9
    cost.look()
    assert cost.cpu == 0.25


def test_it_knows_our_memory():
    assert 1 << 20 < OwnCost(FakeClock()).bytes < 1 << 40


@pytest.mark.parametrize("content", [None, "", "1 x"])
def test_where_nobody_tells_the_most_we_had_is_told(monkeypatch, tmp_path, content):
    path = tmp_path / "statm"
    if content is not None:
        path.write_text(content)
    monkeypatch.setattr(own_cost, "_STATM", path)
    assert OwnCost(FakeClock()).bytes > 1 << 20


def test_a_mac_counts_in_bytes(monkeypatch, tmp_path):
    monkeypatch.setattr(own_cost, "_STATM", tmp_path / "none")
    in_kilobytes = OwnCost(FakeClock()).bytes
    monkeypatch.setattr(own_cost.sys, "platform", "darwin")
    assert OwnCost(FakeClock()).bytes < in_kilobytes
