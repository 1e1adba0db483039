"""Accounts: what was heard merges in any order, however often, into the same."""

import itertools
from functools import reduce

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evtools.cam.ledger.account import (
    FIELDS,
    OWN_MAX_BYTES,
    STEPS_MAX,
    Account,
    Step,
    Told,
    WorkerAccount,
    clean_own,
    joined_extra,
    latest,
    merged,
    merged_workers,
    settled,
    told,
    told_by_worker,
)
from evtools.wire import from_fields
from tools.told import OTHER, WORKER
from tools.told import told as event

times = st.sampled_from([1.0, 2.0, 2.5, 10.0])
fields = st.fixed_dictionaries(
    {"hostname": st.sampled_from([WORKER, OTHER, None])},
    optional={"name": st.sampled_from(["a", "b"]), "args": st.text(max_size=2)},
)


def step(kind, at, **given):
    """Return a step of which only what is given was told."""
    return Step(kind, at, tuple(given.get(name) for name in FIELDS[kind]))


steps = st.builds(
    lambda kind, at, given: step(kind, at, **given),
    st.sampled_from(["task-sent", "task-received"]),
    times,
    fields,
)
values = st.none() | st.booleans() | st.integers(-2, 2) | st.text(max_size=2)
accounts = st.builds(
    Account,
    first=times,
    last=times,
    steps=st.lists(steps, max_size=3),
    note=st.none() | st.builds(Told, st.sampled_from(["task-a", "task-b"]), times, st.just({})),
    extra=st.dictionaries(st.sampled_from("xyz"), st.tuples(times, values)),
    ahead=st.dictionaries(st.sampled_from([WORKER, OTHER]), st.integers(-3, 3)),
)


@settings(max_examples=200, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(accounts, min_size=1, max_size=4), st.randoms())
def test_order_grouping_and_repetition_are_of_no_account(every, random):
    whole = reduce(merged, every, settled(every[0]))
    shuffled = [*every, random.choice(every)]
    random.shuffle(shuffled)
    half = len(shuffled) // 2
    assert settled(reduce(merged, map(settled, shuffled))) == whole
    if half:
        parts = [reduce(merged, part) for part in (shuffled[half:], shuffled[:half])]
        assert merged(*map(settled, parts)) == whole


def test_nothing_is_lost():
    one = Account(2.0, 3.0, [step("task-started", 1.0, hostname=WORKER)])
    other = Account(1.0, 2.0, [step("task-started", 1.0, hostname=OTHER)])
    both = merged(one, other)
    assert (both.first, both.last) == (1.0, 3.0)
    assert list(both.senders()) == [WORKER, OTHER]


def many(count, **how):
    return [step("task-retried", float(at), hostname=WORKER, **how) for at in range(count)]


@pytest.mark.parametrize(("how", "kept"), [({}, STEPS_MAX), ({"traceback": "x" * 16_000}, 16)])
def test_the_newest_steps_are_kept_in_whatever_order_they_come(how, kept):
    every = many(100, **how)
    whole = settled(Account(1.0, 1.0, every))
    assert [step.at for step in whole.steps] == [*range(100 - kept, 100)]
    for cut in (3, 50, 99):
        parts = [Account(1.0, 1.0, every[:cut]), Account(1.0, 1.0, every[cut:])]
        assert merged(*map(settled, reversed(parts))) == whole


def test_the_last_few_steps_are_kept_however_large_they_are():
    account = settled(Account(1.0, 1.0, many(9, traceback="x" * 100_000)))
    assert len(account.steps) == 4


def test_fields_that_celery_does_not_know_have_bounds():
    assert clean_own({}) == {}
    assert clean_own({"a\0": "b\0"}) == {"a�": "b�"}
    assert clean_own({"a": "b" * OWN_MAX_BYTES}) == {}
    every = {f"{n:03}": (1.0, "x" * 1000) for n in range(20)}
    assert list(joined_extra([every])) == [f"{n:03}" for n in range(16)]


def test_what_was_told_last_of_a_field_counts_by_its_time_and_not_its_digits():
    assert joined_extra([{"a": (9.0, 1)}, {"a": (10.0, 2)}]) == {"a": (10.0, 2)}
    assert joined_extra([{"a": (10.0, 2)}, {"a": (9.0, 1)}]) == {"a": (10.0, 2)}


def test_the_latest_of_nothing_is_nothing():
    assert latest([None, None]) is None


# --- what events tell ----------------------------------------------------------------


@pytest.mark.parametrize("kind", FIELDS)
def test_all_that_celery_tells_of_a_task_is_kept(kind):
    original = event(kind)
    heard = told(from_fields(original))
    assert (heard.kind, heard.at) == (kind, original["timestamp"])
    ours = {"type", "uuid", "timestamp", "local_received", "clock", "pid", "utcoffset"}
    known = dict(zip(FIELDS[kind], heard.values, strict=True))
    assert {n: v for n, v in known.items() if v is not None} == {
        name: value for name, value in original.items() if name not in ours and value is not None
    }


def test_texts_of_events_are_cleaned():
    _, exception, _ = told(from_fields(event("task-failed", exception="\0"))).values
    assert exception == "�"


def test_no_field_of_its_own_takes_the_place_of_what_a_worker_tells():
    news = told_by_worker(from_fields(event("worker-heartbeat")), {"freq": 9.0, "zone": "eu"})
    assert (news.fields["freq"], news.fields["zone"]) == (2.0, "eu")
    assert "clock" not in news.fields


worker_accounts = st.builds(
    WorkerAccount,
    last=times,
    told=st.dictionaries(
        st.sampled_from(["worker-online", "worker-heartbeat"]),
        st.builds(
            Told, st.just("worker"), times, st.fixed_dictionaries({"active": st.integers(0, 3)})
        ),
    ),
)


@given(st.lists(worker_accounts, min_size=1, max_size=3))
def test_accounts_of_a_worker_merge_in_any_order(every):
    [result] = {
        msgspec.json.encode(merged_workers(*order), order="deterministic")
        for order in itertools.permutations(every)
    }
    again = merged_workers(*every, *every)
    assert msgspec.json.encode(again, order="deterministic") == result
