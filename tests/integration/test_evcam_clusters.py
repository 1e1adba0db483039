"""evcam watches several clusters at once: each is recorded by itself, whatever the others do."""

from __future__ import annotations

import json
import signal
import sqlite3
import urllib.error
import urllib.request
from contextlib import closing, suppress
from functools import partial

import pytest

from cluster.app import make_app
from cluster.worker import close
from servers.ports import free_port
from servers.process import PATIENCE, wait_until

CAMERA = """
import json
from celery.events.snapshot import Polaroid

class Snaps(Polaroid):
    last = 0  # each cluster has a camera of its own

    def on_shutter(self, state):
        new, self.last = state.event_count - self.last, state.event_count
        line = {"cluster": state.cluster, "new": new, "tasks": sorted(state.tasks)}
        with open("snaps.jsonl", "a") as file:
            file.write(json.dumps(line) + "\\n")
"""


def rows(path, statement):
    """Return the rows that a statement finds, none before there are tables."""
    unless_missing = suppress(sqlite3.OperationalError)
    with unless_missing, closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        return connection.execute(statement).fetchall()
    return []


def lines_of(path):
    """Return what JSON lines have, as far as the last line that is whole."""
    return [json.loads(line) for line in path.read_text().split("\n")[:-1]]


def get(port, path):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/{path}", timeout=PATIENCE) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def figures(port, name):
    """Return a metric's values by the labels, as they are written."""
    found = [line.rsplit(" ", 1) for line in get(port, "metrics")[1].splitlines()]
    return {
        labels.removeprefix(name): float(value)
        for labels, value in found
        if labels.partition("{")[0] == name
    }


def wait_for_success(database, cam, cluster, ids):
    """Wait until the rows of the tasks in a cluster have their end."""
    wanted = f"SELECT uuid FROM tasks WHERE cluster = '{cluster}' AND state = 'SUCCESS'"

    def missing():
        return set(ids) - {uuid for (uuid,) in rows(database, wanted)}

    wait_until(lambda: not missing(), deadline=60, what=lambda: f"{missing()}; {cam.stderr}")


def check_tables(database, sent, workers, twin):
    """Compare the rows of each cluster with what was sent there; one uuid was sent in two."""
    found = {name: [] for name in sent}
    for name, *row in rows(database, "SELECT cluster, uuid, state, worker FROM tasks"):
        found[name].append(tuple(row))
    host = workers["prod"].hostname
    assert {name: sorted(each) for name, each in found.items()} == {
        name: sorted((uuid, "SUCCESS", host) for uuid in ids) for name, ids in sent.items()
    }
    twins = rows(database, f"SELECT cluster, args FROM tasks WHERE uuid = '{twin}'")
    assert dict(twins) == {"mq": "('mq',)", "prod": "('prod',)"}
    pids = rows(database, f"SELECT cluster, pid FROM workers WHERE hostname = '{host}'")
    assert dict(pids) == {name: each.pid for name, each in workers.items()}
    gaps = rows(database, "SELECT cluster, gaps FROM snapshots WHERE gaps != '[]'")
    assert {(name, json.loads(gap)[0]["reason"]) for name, gap in gaps} == {("eu", "reconnect")}


def ended_in(path):
    """Return cluster and uuid of the tasks that have ended according to lines."""
    return {
        (line["cluster"], task["uuid"])
        for line in lines_of(path)
        for task in line["tasks"]
        if task["state"] == "SUCCESS"
    }


def check_lines(path, sent):
    """Each task has changed in lines of its cluster, and in no others."""
    lines = lines_of(path)
    assert {(line["v"], line["cluster"]) for line in lines} == {(2, name) for name in sent}
    assert ended_in(path) == {(name, uuid) for name, ids in sent.items() for uuid in ids}


def seen_in(path):
    """Return the tasks of each cluster that a camera has seen last."""
    return {line["cluster"]: line["tasks"] for line in lines_of(path)}


def check_snaps(path, sent):
    """A camera that was written for Celery has seen each state by itself."""
    assert seen_in(path) == {name: sorted(ids) for name, ids in sent.items()}
    assert min(line["new"] for line in lines_of(path)) >= 0


@pytest.mark.timeout(300)
def test_each_of_three_clusters_is_recorded_whole_while_the_broker_of_one_is_away(
    evcam, worker, redis_server, own_redis, rabbitmq_url, event_exchange, tmp_path, request
):
    urls = {"prod": redis_server.fresh_url(), "eu": own_redis.fresh_url(), "mq": rabbitmq_url}
    workers = {
        name: worker(url, event_exchange=event_exchange, name="web-1", concurrency=1)
        for name, url in urls.items()
    }
    (tmp_path / "mine.py").write_text(CAMERA)
    brokers = [word for name, url in urls.items() for word in ("-b", f"{name}={url}")]
    shared = (*brokers, "--event-exchange", event_exchange, "-F", "0.3")
    ports = {camera: free_port() for camera in ("sqlite:x.db", "prometheus")}
    cams = {
        camera: evcam("-c", camera, *shared, *(
            ("--listen", str(ports[camera])) if camera in ports else ()
        ))
        for camera in ("sqlite:x.db", "jsonl:x.jsonl", "prometheus", "mine.Snaps")
    }  # fmt: skip
    for cam in cams.values():
        for name in urls:
            cam.wait_stderr(f"{name}: listening on")
    database, recorder = tmp_path / "x.db", cams["sqlite:x.db"]

    def send(name, count):
        return [apps[name].send_task("cluster.add", args=(1, n)).id for n in range(count)]

    wait_for = partial(wait_for_success, database, recorder)
    apps = {name: each.app for name, each in workers.items()}
    wait_until(
        lambda: figures(ports["sqlite:x.db"], "evcam_snapshots_total")['{result="taken"}'],
        what=lambda: f"a snapshot; {recorder.stderr}",
    )
    sent = {name: send(name, 5) for name in urls}
    twin = f"twin-{event_exchange}"
    for name in ("prod", "mq"):
        sent[name] += [apps[name].send_task("cluster.echo", args=(name,), task_id=twin).id]
    for name, ids in sent.items():
        wait_for(name, ids)
    own_redis.kill()
    for cam in cams.values():
        cam.wait_stderr("eu: connection lost")
    for name in ("prod", "mq"):
        sent[name] += (more := send(name, 20))
        wait_for(name, more)
    # Those two are still recorded, so nobody is to end this evcam.
    status, answer = get(ports["sqlite:x.db"], "readyz")
    assert (status, "eu: there is no connection" in answer) == (200, True)
    status = json.loads(get(ports["sqlite:x.db"], "status")[1])
    clusters = status["counters"]["clusters"]
    there = {name for name, each in clusters.items() if each["connected"]}
    assert (there, clusters.keys()) == ({"prod", "mq"}, urls.keys())
    assert status["counters"]["events"] == sum(each["events"] for each in clusters.values())
    connected = figures(ports["prometheus"], "evcam_connected")
    assert connected == {'{cluster="prod"}': 1, '{cluster="eu"}': 0, '{cluster="mq"}': 1}
    own_redis.start()
    for cam in cams.values():
        cam.wait_stderr("eu: connected again")
    # Connections of the old one are dead.
    apps["eu"] = make_app(urls["eu"], event_exchange, queue=workers["eu"].queue)
    request.addfinalizer(partial(close, apps["eu"]))
    for name in urls:
        sent[name] += (more := send(name, 5))
        wait_for(name, more)

    # The metrics: what succeeded, and one worker, in each.
    counted = {
        f'{{cluster="{name}",name="cluster.add",queue_name="{workers[name].queue}"}}'
        for name in urls
    }
    port = ports["prometheus"]
    wait_until(
        lambda: (
            sum(figures(port, "celery_task_succeeded_total").values())
            == sum(map(len, sent.values()))
        ),
        what=lambda: str(figures(port, "celery_task_succeeded_total")),
    )
    assert counted <= figures(port, "celery_task_succeeded_total").keys()
    wait_until(
        lambda: figures(port, "celery_worker_up") == {f'{{cluster="{name}"}}': 1 for name in urls},
        what=lambda: str(figures(port, "celery_worker_up")),
    )
    # The other two may be later than the database and the metrics.
    lines, snaps = tmp_path / "x.jsonl", tmp_path / "snaps.jsonl"
    count = sum(map(len, sent.values()))
    wait_until(lambda: len(ended_in(lines)) == count, what="all ends in the lines")
    wait_until(lambda: sum(map(len, seen_in(snaps).values())) == count, what="all tasks seen")
    for cam in cams.values():
        assert cam.stop(signal.SIGTERM) == 0
    check_tables(database, sent, workers, twin)
    check_lines(lines, sent)
    check_snaps(snaps, sent)


def test_two_evcams_share_a_queue_in_each_cluster(
    evcam, sender, rabbitmq_server, event_exchange, tmp_path
):
    urls = {"prod": rabbitmq_server.url, "eu": rabbitmq_server.vhost_url("team%2Fqueue")}
    brokers = [word for name, url in urls.items() for word in ("-b", f"{name}={url}")]
    queue = ("--queue", f"evcam.{event_exchange}", "--event-exchange", event_exchange)
    shared = ("-c", "sqlite:x.db", "-F", "0.2", *brokers, *queue)
    cams = [evcam(*shared), evcam(*shared)]
    for cam in cams:
        for name in urls:
            cam.wait_stderr(f"{name}: listening on")
    for name, url in urls.items():
        publisher = sender(url, event_exchange)
        for number in range(50):
            publisher.send("task-sent", uuid=f"u{number}", name=f"of.{name}", retries=0)

    def counts():
        each = "SELECT cluster, count(*), count(DISTINCT name) FROM tasks GROUP BY cluster"
        return sorted(rows(tmp_path / "x.db", each))

    wait_until(lambda: counts() == [("eu", 50, 1), ("prod", 50, 1)], what=lambda: str(counts()))
    for cam in cams:
        assert cam.stop(signal.SIGTERM) == 0
    # Each event went to one of them.
    taken = "SELECT cluster, sum(events), count(DISTINCT evcam) FROM snapshots GROUP BY cluster"
    assert sorted(rows(tmp_path / "x.db", taken)) == [("eu", 50, 2), ("prod", 50, 2)]
