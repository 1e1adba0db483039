"""evdump watches several clusters at once, and none of them costs another an event."""

from __future__ import annotations

import json
from collections import Counter
from functools import partial

import pytest

from cluster.app import make_app
from cluster.worker import close
from servers.process import wait_until
from tools.command import installed

#: What each task that succeeds sends.
LIFE = ("task-sent", "task-received", "task-started", "task-succeeded")


def records_of(text):
    # The last line may not be whole yet.
    return [json.loads(line) for line in text.split("\n")[:-1]]


def send(app, count):
    """Send tasks; return their ids."""
    return [app.send_task("cluster.add", args=(1, n)).id for n in range(count)]


def wait_for(dump, ids):
    """Wait until the tasks have succeeded."""

    def missing():
        ended = {each["uuid"] for each in records_of(dump.stdout) if each["type"] == LIFE[-1]}
        return set(ids) - ended

    wait_until(lambda: not missing(), deadline=60, what=lambda: f"{missing()}; {dump.stderr}")


@pytest.mark.timeout(240)
def test_a_broker_that_dies_costs_the_other_clusters_nothing(
    evdump, worker, redis_server, own_redis, rabbitmq_url, event_exchange, request
):
    urls = {"prod": redis_server.fresh_url(), "eu": own_redis.fresh_url(), "mq": rabbitmq_url}
    # A name of a worker may be there in each cluster.
    workers = {
        name: worker(url, event_exchange=event_exchange, name="web-1", concurrency=1)
        for name, url in urls.items()
    }
    brokers = [word for name, url in urls.items() for word in ("-b", f"{name}={url}")]
    dump = evdump(
        *brokers, "--event-exchange", event_exchange, "-w", "rec.jsonl", "--print", "-o", "json",
        "--stats", "json",
    )  # fmt: skip
    for name in urls:
        dump.wait_stderr(f"evdump: {name}: listening on", deadline=30)
    apps = {name: each.app for name, each in workers.items()}
    sent = {name: send(app, 3) for name, app in apps.items()}
    for name in ("prod", "mq"):  # one task that both know under the same id
        apps[name].send_task("cluster.echo", args=(name,), task_id=f"twin-{event_exchange}")
    wait_for(dump, [id_ for ids in sent.values() for id_ in ids])
    own_redis.kill()
    dump.wait_stderr("evdump: eu: connection lost", deadline=30)
    for name in ("prod", "mq"):
        sent[name] += (more := send(apps[name], 20))
        wait_for(dump, more)
    own_redis.start()
    dump.wait_stderr("evdump: eu: connected again to", deadline=30)
    # Connections of the old one are dead.
    apps["eu"] = make_app(urls["eu"], event_exchange, queue=workers["eu"].queue)
    request.addfinalizer(partial(close, apps["eu"]))
    for name, app in apps.items():
        sent[name] += (more := send(app, 3))
        wait_for(dump, more)
    # Clients send task-sent on connections of their own.
    wait_until(
        lambda: Counter(each["type"] for each in records_of(dump.stdout))["task-sent"]
        == sum(map(len, sent.values())) + 2,
        deadline=20, what=lambda: f"every task-sent; {dump.stderr}",
    )  # fmt: skip
    assert dump.stop() == 0

    records = records_of(dump.stdout)
    events = [each for each in records if each["type"] in LIFE and "twin" not in each["uuid"]]
    seen = Counter((each["cluster"], each["uuid"], each["type"]) for each in events)
    assert seen == {(name, id_, kind): 1 for name in urls for id_ in sent[name] for kind in LIFE}
    gaps = [each for each in records if each["type"] == "evdump-gap"]
    assert [(each["cluster"], each["reason"]) for each in gaps] == [("eu", "reconnect")]
    assert {each["v"] for each in records} == {2}
    ends = [each for each in records if each["type"] == LIFE[-1] and "twin" in each["uuid"]]
    assert {each["cluster"]: each["args"] for each in ends} == {
        "prod": "('prod',)",
        "mq": "('mq',)",
    }
    clusters = json.loads(dump.stderr.splitlines()[-1])["clusters"]
    assert {name: each["gaps"] for name, each in clusters.items()} == {"prod": 0, "eu": 1, "mq": 0}
    assert all(each["connected"] for each in clusters.values())

    again = evdump("-r", "rec.jsonl", "-o", "json")
    assert again.wait() == 0
    assert again.stdout == dump.stdout
    one = evdump("-r", "rec.jsonl", "-o", "json", "cluster:mq")
    assert one.wait() == 0
    assert records_of(one.stdout) == [
        each for each in records if each in gaps or each["cluster"] == "mq"
    ]
    text = evdump("-r", "rec.jsonl", "-o", "text", "--ts", "none")
    assert text.wait() == 0
    starts = [line.partition(" ")[0] for line in text.stdout.splitlines()]
    assert starts == [each["cluster"] for each in records]
    top = evdump.start([str(installed("evtop")), "-r", "rec.jsonl", "-B", "--view", "workers"])
    assert top.wait() == 0
    rows = [line.split() for line in top.stdout.splitlines()]
    assert {tuple(row[:2]) for row in rows[1:]} == {("web-1@cluster", name) for name in urls}
    assert "left out" not in top.stderr


@pytest.mark.timeout(60)
def test_a_broker_that_refuses_is_left_out_and_the_last_one_ends_it(evdump, redis_acl):
    address = f"127.0.0.1:{redis_acl.port}/0"
    good, bad = f"redis://operator:operator-secret@{address}", f"redis://operator:wrong@{address}"
    dump = evdump("-b", f"prod={good}", "-b", f"eu={bad}")
    dump.wait_stderr("prod: listening on")
    dump.wait_stderr("eu: left out, while the others go on: ")
    assert dump.stop() == 0
    *_, prod, eu = dump.stderr.splitlines()
    assert prod.endswith(" connected")
    assert eu.startswith("evdump: eu: 0 captured, 0 lost, 0 gaps, left out: ")
    assert "wrong" not in dump.stderr
    both = evdump("-b", f"prod={bad}", "-b", f"eu={bad[:-1]}1")
    assert both.wait() == 69
    # Each is reported once, the last one as the end.
    assert [both.stderr.count(f"{word}: ") for word in ("prod", "eu", "the others go on")] == [
        1
    ] * 3
