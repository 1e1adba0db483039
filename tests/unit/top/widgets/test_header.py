from collections import Counter
from dataclasses import replace

import pytest

from evtools.state import Quantiles
from evtools.top.glyphs import ASCII, UNICODE
from evtools.top.header import HeaderFacts
from evtools.top.widgets.header import Surroundings, header_lines
from evtools.top.widgets.line import columns, plain

AROUND = Surroundings(
    status="LIVE",
    where="redis://:**@broker-1:6379/0",
    badges=("RO",),
    refresh=1.0,
    clock="14:56:34 UTC",
    own_cpu=0.03,
    own_bytes=84 << 20,
)


TIMES = Quantiles(count=2, p50=0.084, p95=1.2, p99=4.8, max=9.0)


@pytest.fixture
def facts():
    return HeaderFacts(
        as_of=1000.0,
        lag=0.2,
        reconnects=0,
        gaps=0,
        malformed=0,
        dropped=0,
        missed=0,
        event_rate=1284.0,
        flow=tuple(float(second) for second in range(300)),
        peak=2310.0,
        tasks=2,
        max_tasks=100_000,
        weight_bytes=100,
        max_bytes=1 << 28,
        evicted=0,
        workers=Counter(online=1),
        active=1,
        slots=None,
        ok_rate=1201.0,
        fail_rate=3.1,
        retry_rate=0.8,
        failure_share=0.003,
        run=TIMES,
        wait=TIMES,
    )


def shown(facts, cols, count, around=AROUND, glyphs=UNICODE):
    lines = header_lines(facts, around, (cols, count), glyphs)
    assert len(lines) == count
    assert all(columns(line) == cols for line in lines)
    return [plain(line).rstrip() for line in lines]


def test_three_lines_tell_where_how_much_and_how_it_goes(facts):
    where, flow, cluster = shown(facts, 120, 3)
    assert where.startswith(" evtop  redis://:**@broker-1:6379/0  LIVE  lag")
    assert "reconnects 0  gaps 0" in where
    assert where.endswith("RO  every 1s  14:56:34 UTC")
    assert flow.startswith(" events ")
    assert "5m peak" in flow
    assert flow.endswith("tasks 2/100000  self 3% cpu 84M")
    assert cluster.startswith(" workers 1 online  active 1  ok ")
    assert "run p50" in cluster
    assert "p99" in cluster


def test_two_lines_tell_the_most_important_of_it(facts):
    where, figures = shown(facts, 80, 2)
    assert where.startswith(" redis://:**@broker-1:6379/0  LIVE")
    assert where.endswith("RO  14:56:34 UTC")
    assert "wk 1/1" in figures
    assert "p95" in figures


def test_one_line_tells_whether_it_lives_and_what_fails(facts):
    (line,) = shown(facts, 80, 1)
    assert "LIVE" in line
    assert "fail" in line


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("cols", [20, 50, 64, 80, 100, 300])
def test_whole_pieces_are_left_out_where_there_is_no_room(facts, cols, count):
    lines = shown(facts, cols, count)
    assert "LIVE" in lines[0]
    for piece in ("RO", "14:56:34 UTC", "every 1s"):
        assert piece in lines[0] or piece.split()[0] not in lines[0]


def test_losses_are_told_when_there_are_some(facts):
    lossy = replace(facts, reconnects=2, gaps=3, dropped=40, missed=7)
    (where, _, _) = shown(lossy, 160, 3)
    assert "reconnects 2  gaps 3  dropped 40  missed 7" in where
    assert "gaps" not in shown(facts, 80, 2)[0]
    assert "gaps 3" in shown(lossy, 120, 2)[0]


def test_what_is_forgotten_or_runs_out_is_told(facts):
    full = replace(facts, evicted=1234, weight_bytes=200, max_bytes=256)
    assert "tasks 2 (200B/256B) forgot 1.2k" in shown(full, 120, 3)[1]


def test_late_and_gone_workers_stand_out(facts):
    workers = facts.workers.copy()
    workers.update({"late": 2, "gone": 1})
    line = shown(replace(facts, workers=workers), 120, 3)[2]
    assert line.startswith(" workers 1 online 2 late 1 gone")


def test_silent_workers_are_told_of_and_what_they_do_is_not_known(facts):
    silent = replace(facts, workers=Counter(online=1, silent=2), slots=16)
    assert " workers 1 online 2 silent  active 1+/16 " in shown(silent, 120, 3)[2]
    assert "wk 1/3 2 silent  run 1+/16" in shown(silent, 80, 2)[1]


def test_what_is_not_known_is_not_made_up(facts):
    nothing = replace(facts, lag=None, slots=None, failure_share=None)
    around = replace(AROUND, own_cpu=None, own_bytes=None)
    lines = shown(nothing, 120, 3, around)
    assert "lag" not in lines[0]
    assert "self" not in lines[1]
    assert "%" not in lines[2]
    with_slots = replace(facts, slots=16)
    assert "active 1/16" in shown(with_slots, 120, 3)[2]


@pytest.mark.parametrize(("count", "row"), [(3, 1), (2, 1), (1, 0)])
def test_a_banner_takes_the_place_of_figures_that_mean_nothing(facts, count, row):
    around = replace(AROUND, banner=("RECONNECTING", "12s old"))
    lines = header_lines(facts, around, (80, count), UNICODE)
    assert [style for style, _ in lines[row]] == ["banner"]
    assert plain(lines[row]).startswith(" RECONNECTING")
    assert plain(lines[row]).endswith("12s old ")


def test_a_long_banner_is_cut_before_the_age_of_the_data_is(facts):
    around = replace(AROUND, banner=("RECONNECTING " * 20, "12s old"))
    line = plain(header_lines(facts, around, (80, 2), UNICODE)[1])
    assert line.endswith((".. 12s old ", "..  12s old "))


def test_a_status_that_is_not_life_stands_out(facts):
    lines = header_lines(facts, replace(AROUND, status="PAUSED"), (80, 2), UNICODE)
    assert ("paused", "PAUSED") in lines[0]


def test_the_flow_is_drawn_in_characters_that_may_be_shown(facts):
    assert all(line.isascii() for line in shown(facts, 120, 3, glyphs=ASCII))
