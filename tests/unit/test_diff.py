"""Two recordings compared: what is reported of differences, and of noise nothing."""

import csv
import json
import math
import random
from itertools import product
from pathlib import Path
from statistics import median

import pytest

from evtools import diff
from evtools.cli.main import start
from evtools.diff import Sample, Side, TypeRuns, adjust, compare, compare_shares, compare_times
from evtools.wire import EnvelopeWriter, Joiner, encode_line, from_fields, gap

#: 20 Nov 2026, 20:00 in Stockholm.
EIGHT, HOUR = 1_795_201_200.0, 3600.0


def side(types, *, seconds=HOUR, failed=0, retried=0):
    """A recording with these run times by type."""
    made = Side(first=EIGHT, last=EIGHT + seconds, events=1)
    for name, times in types.items():
        runs = made.types[name] = TypeRuns(name)
        for time in times:
            runs.run.add(time)
        runs.succeeded, runs.failed, runs.retried = len(times) - failed, failed, retried
    return made


def verdicts(before, after, *, confidence=0.95, min_change=0.05):
    rows = compare(before, after, confidence=confidence, min_change=min_change)
    return {row.name: row.verdicts for row in rows}


def lognormal(chance, count, *, spread, scale=1.0):
    return [scale * chance.lognormvariate(0, spread) for _ in range(count)]


# --- noise and differences ----------------------------------------------------------------


def test_of_shuffled_runs_nothing_is_reported():
    # For a confidence of 95 % that is 5 of 100, and less where small changes are left out.
    chance, alarms = random.Random(7), 0
    runs = {f"t{n}": lognormal(chance, 400, spread=1) for n in range(2)}
    failed = {name: [chance.random() < 0.05 for _ in times] for name, times in runs.items()}
    for _ in range(100):
        halves = Side(first=0, last=HOUR, events=1), Side(first=0, last=HOUR, events=1)
        for name, times in runs.items():
            order = list(zip(times, failed[name], strict=True))
            chance.shuffle(order)
            for half, drawn in zip(halves, (order[::2], order[1::2]), strict=True):
                each = half.types[name] = TypeRuns(name)
                for time, fails in drawn:
                    each.run.add(time)
                    each.failed += fails
                each.succeeded = len(drawn) - each.failed
        found = {word for words in verdicts(*halves, min_change=0.0).values() for word in words}
        alarms += not found <= {diff.SAME, diff.TOO_FEW}
    assert alarms <= 5


def test_what_is_slow_for_some_minutes_is_noise_too():
    chance, alarms = random.Random(5), 0

    def hour():
        # Sixty minutes, each slow or fast as a whole.
        times = []
        for _ in range(60):
            scale = chance.lognormvariate(0, 0.4)
            times += lognormal(chance, 10, spread=0.2, scale=scale)
        return side({"t": times})

    for _ in range(40):
        alarms += verdicts(hour(), hour())["t"] not in ([diff.SAME], [diff.TOO_FEW])
    assert alarms <= 3  # 23, if each run were an independent witness


def test_ten_percent_in_5000_runs_are_found_among_other_types():
    chance = random.Random(1)
    types = {f"t{n}": lognormal(chance, 100, spread=0.8) for n in range(10)}
    slow = {"t": lognormal(chance, 5000, spread=0.8, scale=1.1)}
    rows = compare(
        side(types | {"t": lognormal(chance, 5000, spread=0.8)}),
        side(types | slow), confidence=0.95, min_change=0.05,
    )  # fmt: skip
    assert [(row.name, row.verdicts, row.is_worse) for row in rows[:1]] == [("t", ["slower"], True)]
    assert not any(row.is_worse or row.is_better for row in rows[1:])
    run = rows[0].tests["run"]
    assert run.low < 0.1 < run.high
    assert run.high - run.low < 0.1


FAST = [0.1 + 0.0001 * (7 * n % 100) for n in range(400)]


@pytest.mark.parametrize(
    ("before", "after", "found"),
    [
        (FAST, [time * 1.2 for time in FAST], ["slower"]),
        (FAST, [time * 0.8 for time in FAST], ["faster"]),
        # A difference, and a sure one, that nobody asked for.
        (FAST, [time * 1.03 for time in FAST], ["same"]),
        # One of ten takes ten times as long, and the others what they took.
        (FAST, [time * (1 if n % 10 else 10) for n, time in enumerate(FAST)], ["slowest-slower"]),
        ([time * (1 if n % 10 else 10) for n, time in enumerate(FAST)], FAST, ["slowest-faster"]),
        # More take longest, and yet the p95 is less.
        (
            [9.0 if n % 100 < 1 else 5.0 if n % 100 < 9 else FAST[n % 400] for n in range(1000)],
            [9.0 if n % 100 < 4 else FAST[n % 400] for n in range(1000)],
            ["same"],
        ),
        ([0.0] * 50, [0.0] * 50, ["same"]),
        (FAST[:7], [time * 2 for time in FAST[:7]], ["too-few"]),
        ([1.0, 9.0, 3.0] * 4, [1.1, 8.0, 5.0] * 4, ["too-few"]),
        (FAST, [], ["gone"]), ([], FAST, ["new"]), ([], [1.0], ["too-few"]),
        ([1.0], [], ["too-few"]),
    ],
)  # fmt: skip
def test_run_times_have_a_verdict(before, after, found):
    assert verdicts(side({"t": before, "u": FAST}), side({"t": after, "u": FAST}))["t"] == found


@pytest.mark.parametrize(
    ("before", "after", "found"),
    [
        ({"failed": 4}, {"failed": 40}, ["fails-more"]),
        ({"failed": 40}, {"failed": 4}, ["fails-less"]),
        ({"failed": 0}, {"failed": 12}, ["fails-more"]),
        ({"failed": 4}, {"failed": 9}, ["same"]),
        ({"retried": 1}, {"retried": 50}, ["retries-more"]),
        ({"failed": 30, "retried": 50}, {"failed": 1}, ["fails-less", "retries-less"]),
    ],
)
def test_failures_and_retries_have_a_verdict(before, after, found):
    runs = {"t": FAST}
    assert verdicts(side(runs, **before), side(runs, **after)) == {"t": found}


def test_what_always_fails_has_one_as_well():
    def failing(count):
        made = side({"t": []})
        made.types["t"].failed = count
        return made

    assert verdicts(failing(100), failing(90)) == {"t": ["same"]}
    assert verdicts(failing(2), failing(3)) == {"t": ["too-few"]}


def test_what_is_gone_depends_on_how_long_was_looked():
    before, short = side({"t": FAST[:20]}), side({"u": FAST}, seconds=60)
    assert verdicts(before, short)["t"] == [diff.TOO_FEW]
    assert verdicts(before, side({"u": FAST}))["t"] == [diff.GONE]


# --- statistics ---------------------------------------------------------------------------


def test_the_change_is_the_median_ratio_of_all_pairs():
    chance = random.Random(2)
    before = lognormal(chance, 41, spread=0.7)
    after = lognormal(chance, 33, spread=0.9, scale=1.4)
    found = compare_times(before, after, 0.95)
    ratio = median(math.log(new / old) for old, new in product(before, after))
    assert found.change == pytest.approx(math.expm1(ratio), abs=2e-4)
    assert found.low < found.change < found.high
    # The interval is that of the test.
    assert (found.p < 0.05) == (found.low > 0)


def test_the_test_of_ranks_is_that_of_mann_and_whitney():
    # With ties, of which each counts half, and which make the spread smaller.
    before, after = list(range(1, 20, 2)), [2, 4, 6, 8, 10, 10, 12, 14, 17, 19]
    pairs = sum((new > old) + (new == old) / 2 for old, new in product(before, after))
    spread = math.sqrt(100 / 12 * (21 - 3 * (2**3 - 2) / (20 * 19)))
    p = math.erfc(abs(pairs - 50) / spread / math.sqrt(2))
    assert compare_times(before, after, 0.95).p == pytest.approx(p)


def test_shares_are_compared_as_in_the_literature():
    # Fisher's p as R has it; the interval is example (a) of Newcombe (1998), method 10.
    assert compare_shares(8, 10, 1, 6, 0.95).p == pytest.approx(0.03497, abs=1e-5)
    found = compare_shares(48, 80, 56, 70, 0.95)
    assert (found.low, found.high) == (pytest.approx(0.0524, abs=1e-4),
                                       pytest.approx(0.3339, abs=1e-4))  # fmt: skip
    assert found.relative == pytest.approx(1 / 3)
    assert compare_shares(0, 50, 0, 90, 0.95) is None
    # Where there are very many, that is approximated.
    many = compare_shares(5000, 100_000, 5250, 100_000, 0.95).p
    assert many == pytest.approx(0.0111, abs=2e-4)


def test_the_more_is_asked_the_less_sure_is_an_answer():
    # The example of Benjamini and Hochberg (1995): four of fifteen.
    values = (0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459, 0.324,
              0.4262, 0.5719, 0.6528, 0.759, 1.0)  # fmt: skip
    tests = [diff.Test(0.0, 0.0, p) for p in values]
    adjust(tests)
    assert [test.adjusted < 0.05 for test in tests] == [True] * 4 + [False] * 11
    assert tests[0].adjusted == pytest.approx(0.0015)


def test_a_sample_is_drawn_evenly_keeps_its_order_and_is_the_same_again():
    first, again = Sample(1000, "t"), Sample(1000, "t")
    for number in range(20_000):
        first.add(number)
        again.add(number)
    drawn = first.in_order()
    assert first.count == 20_000
    assert len(drawn) == 1000
    assert drawn == sorted(set(drawn)) == again.in_order()
    assert 400 < sum(each < 10_000 for each in drawn) < 600


# --- the command --------------------------------------------------------------------------


class Recorder:
    """Writes the events of tasks as evdump records them."""

    def __init__(self, path):
        self.path, self._events, self._count = path, [], 0

    def add(self, name, at, *steps, wait=0.05, run=0.1, **fields):
        """A task that waits, and runs."""
        self._count += 1
        base = {"hostname": "celery@one", "uuid": f"u{self._count}", "pid": 1, "clock": 1}
        base |= {"utcoffset": 0}
        moments = {"received": at, "started": at + wait}
        for step in ("received", "started", *steps):
            when = moments.get(step, at + wait + run)
            event = {"type": f"task-{step}", **base, "timestamp": when}
            if step == "received":
                event |= {"name": name, "args": "()", "kwargs": "{}", "retries": 0, **fields}
            if step == "succeeded":
                event |= {"result": "None", "runtime": run}
            self._events.append(from_fields(event | {"local_received": when}))

    def many(self, name, count, *, start=EIGHT, run=0.1, every=1.0, fails=0):
        for number in range(count):
            end = "failed" if number < fails else "succeeded"
            self.add(name, start + number * every, end, run=run * (1 + (number * 7 % 10) / 100))
        return self

    def gap(self, start, end):
        self._events.append(gap("connection", start, end))

    def write(self, *, joined=True):
        self._events.sort(key=lambda event: event.local_received)
        if not joined:  # as other programs write them
            lines = [encode_line(event.as_dict()) + b"\n" for event in self._events]
            self.path.write_bytes(b"".join(lines))
            return str(self.path)
        Joiner().join(self._events)
        self.path.write_bytes(EnvelopeWriter().lines(self._events))
        return str(self.path)


@pytest.fixture
def recorder(tmp_path, in_zone):
    in_zone("Europe/Stockholm")
    return lambda name: Recorder(tmp_path / name)


@pytest.fixture
def run(capsys):
    def run(*words):
        status = start("diff", list(words))
        return status, *capsys.readouterr()

    return run


def test_a_deploy_that_made_a_type_slower_fails_a_pipeline(recorder, run):
    old = recorder("old.jsonl").many("shop.pay", 60).many("shop.\x1b[31mmail", 60).write()
    later = {"start": EIGHT + HOUR}
    new = recorder("new.jsonl").many("shop.pay", 60, run=0.125, **later)
    new.many("shop.\x1b[31mmail", 60, **later)
    new.gap(EIGHT + HOUR + 1, EIGHT + HOUR + 3)
    new = new.write()
    status, out, err = run(old, new)
    assert (status, err) == (1, "")
    assert out.splitlines() == [
        "BEFORE  2026-11-20 20:00:00 to 20:00:59, 360 events, 120 runs",
        "AFTER   2026-11-20 21:00:00 to 21:00:59, 361 events, 120 runs, 1 gap (2.00s)",
        "",
        (
            "                   -----RUNS----  ----FAIL%----  ---RUN p50---  ---RUN p95---"
            "  ---WAIT p50--  ---WAIT p95--"
        ),
        (
            "TASK               before  after  before  after  before  after  before  after"
            "  before  after  before  after  VERDICT"
        ),
        (
            "shop.pay               60     60    0.0%   0.0%   104ms  130ms   109ms  136ms"
            "    50ms   50ms    50ms   50ms  slower 25% ±1.2%"
        ),
        (
            r"shop.\x1b[31mmail      60     60    0.0%   0.0%   104ms  104ms   109ms  109ms"
            "    50ms   50ms    50ms   50ms  no difference shown"
        ),
        "",
        "1 worse, 1 no difference shown (confidence 95%, changes below 5% not reported)",
    ]
    assert run(new, old)[0] == 0  # faster
    assert "AFTER is from before BEFORE" in run(new, old)[2]
    assert run(old, new, "--min-change", "30%")[0] == 0
    status, out, _ = run(old, new, "--only", "worse", "--json")
    shown = json.loads(out)
    assert [row["name"] for row in shown["types"]] == ["shop.pay"]
    assert shown["types"][0]["before"]["run"] == {"count": 60, "p50": 0.104, "p95": 0.109}
    assert shown["after"]["gaps"] == 1
    status, out, _ = run(old, new, "-o", "csv", "--confidence", "99.9")
    rows = list(csv.DictReader(out.splitlines()))
    assert [row["verdicts"] for row in rows] == ["slower", "same"]
    assert float(rows[0]["run_change"]) == pytest.approx(0.25, abs=0.005)
    assert rows[0]["after_wait_p50"] == "0.05"


def test_a_failure_at_the_hard_time_limit_is_one_run(recorder, run):
    made = recorder("a.jsonl").many("shop.pay", 9)
    made.add("shop.pay", EIGHT + 20, "failed")
    # Celery reports it twice, a millisecond apart.
    later = made._events[-1].timestamp + 0.001
    again = made._events[-1].as_dict() | {"timestamp": later, "local_received": later}
    made._events.append(from_fields(again))
    path = made.write()
    _, out, _ = run(path, path, "-o", "json")
    (found,) = json.loads(out)["types"]
    assert (found["before"]["succeeded"], found["before"]["failed"]) == (9, 1)


def test_each_attempt_has_the_wait_of_its_own(recorder, run):
    made = recorder("a.jsonl").many("shop.pay", 9)
    for retries, end in enumerate(("retried", "succeeded")):
        made._count = 9  # attempts at one task
        made.add("shop.pay", EIGHT + 20 + retries, end, retries=retries, wait=0.3 - retries / 5)
    path = made.write()
    _, out, _ = run(path, path, "-o", "json")
    (found,) = json.loads(out)["types"]
    assert found["before"]["wait"]["count"] == 11
    assert found["before"]["wait"]["p95"] == pytest.approx(0.3)


def test_of_one_recording_dealt_into_two_nothing_is_reported(recorder, run):
    chance = random.Random(7)
    halves = [recorder(f"{name}.jsonl") for name in ("one", "two")]
    for number in range(600):
        for name, scale in (("shop.pay", 0.1), ("shop.mail", 2.0)):
            end = "failed" if chance.random() < 0.1 else "succeeded"
            time = scale * chance.lognormvariate(0, 1)
            chance.choice(halves).add(name, EIGHT + number, end, run=time)
    status, out, err = run(*(each.write() for each in halves), "--min-change", "0")
    assert (status, err) == (0, "")
    assert out.endswith("\n0 worse, 2 no difference shown (confidence 95%)\n")


def test_one_recording_is_cut_at_a_time(recorder, run):
    day = recorder("day.jsonl").many("shop.pay", 60)
    # What runs at the cut runs what was deployed before it.
    day.add("shop.pay", EIGHT + HOUR - 5, "failed", run=10.0)
    day.add("shop.pay", EIGHT + HOUR - 4, "retried", run=10.0)
    day.many("shop.pay", 60, start=EIGHT + HOUR, fails=30)
    path = day.write()
    status, out, _ = run("--at", "21:00", path, "--json")
    (row,) = json.loads(out)["types"]
    ends = [(row[part]["succeeded"], row[part]["failed"], row[part]["retried"])
            for part in ("before", "after")]  # fmt: skip
    assert (status, ends) == (1, [(60, 1, 1), (30, 30, 0)])
    assert row["verdicts"] == ["fails-more"]
    assert row["after"]["failure_share"] == 0.5
    # What is before the recording on that day is on the next.
    night = recorder("night.jsonl").many("shop.pay", 60)
    night = night.many("shop.pay", 61, start=EIGHT + 23.5 * HOUR).write()
    (row,) = json.loads(run("--at", "19:00", night, "--json")[1])["types"]
    assert (row["before"]["ended"], row["after"]["ended"]) == (60, 61)
    status, _, err = run("--at", "2026-11-19T10:00", path)
    assert status == 2
    assert "--at 2026-11-19 10:00:00 is not within the recording: 2026-11-20 20:00:00 to" in err


def test_several_files_filters_and_hours_are_read_as_with_r(recorder, run):
    for name, begin in (("mon-1", 0), ("mon-2", HOUR)):
        each = recorder(f"{name}.jsonl").many("shop.pay", 30, start=EIGHT + begin)
        path = each.many("noise", 30, start=EIGHT + begin).write()
    tuesday = recorder("tue.jsonl").many("shop.pay", 30, start=EIGHT + 24 * HOUR)
    tuesday.many("noise", 30, start=EIGHT + 24 * HOUR, run=9.0)
    tuesday.many("shop.pay", 30, start=EIGHT + 25 * HOUR, run=5.0)
    new = tuesday.write(joined=False)
    monday = path.replace("mon-2", "mon-*")
    words = ("--filter", "name:shop.*", "--json")
    status, out, _ = run(monday, new, "-S", "20:00", "-U", "20:30", *words)
    (row,) = json.loads(out)["types"]
    assert (status, row["name"], row["before"]["ended"], row["after"]["ended"]) == (
        *(0, "shop.pay"), *(30, 30),
    )  # fmt: skip
    assert run(monday, new, *words)[0] == 1
    status, _, err = run(monday, new, "--filter", "name:shoppe.*")
    assert status == 2
    assert "BEFORE has no task that ran" in err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "two recordings are compared, not 0"),
        (["a", "b", "c"], "two recordings are compared, not 3"),
        (["--at", "10:00"], "--at cuts a recording in two"),
        (["nowhere.jsonl", "b"], "cannot read nowhere.jsonl"),
        (["a", "b", "--confidence", "100"], "less than 100%"),
        (["a", "b", "--min-change", "-5"], 'invalid percentage "-5"'),
        (["a", "b", "--filter", "("], "bad filter"),
    ],
)
def test_what_cannot_be_compared_is_said(run, words, says):
    status, out, err = run(*words)
    assert (status, out) == (2, "")
    assert err.startswith("evtools diff: ")
    assert says in err


def test_without_tasks_and_with_too_many_types(recorder, run, monkeypatch):
    old = recorder("old.jsonl").many("shop.pay", 10).write()
    empty = recorder("empty.jsonl")
    empty.gap(EIGHT, EIGHT + 1)
    status, _, err = run(old, empty.write())
    assert status == 2
    assert "AFTER has no task that ran: 2026-11-20" in err
    monkeypatch.setattr(diff, "TYPES_MAX", 1)
    new = recorder("new.jsonl").many("shop.pay", 10).many("more", 3).write()
    status, out, _ = run(old, new)
    assert status == 0
    assert "13 runs, 3 runs of further types not compared" in out
    torn = recorder("torn.jsonl").many("shop.pay", 10).write()
    with Path(torn).open("ab") as file:
        file.write(b'{"v":1,"ts"\n')
    assert "evtools diff: left out: no JSON" in run(old, torn)[2]
