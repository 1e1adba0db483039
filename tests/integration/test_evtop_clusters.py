"""evtop watches several clusters on one screen, and none of them costs another anything."""

from __future__ import annotations

import json
import re
from functools import partial

import pytest

from cluster.app import make_app
from cluster.worker import close
from servers.process import wait_until


def send(app, count):
    """Send tasks; return the first eight characters of their ids."""
    return [app.send_task("cluster.add", args=(1, n)).id[:8] for n in range(count)]


@pytest.mark.timeout(240)
def test_a_broker_that_dies_dims_its_rows_and_the_other_clusters_go_on(
    evtop, worker, redis_server, own_redis, rabbitmq_url, event_exchange, request
):
    urls = {"prod": redis_server.fresh_url(), "eu": own_redis.fresh_url(), "mq": rabbitmq_url}
    # A name of a worker may be there in each cluster.
    workers = {
        name: worker(url, event_exchange=event_exchange, name="web-1", concurrency=1)
        for name, url in urls.items()
    }
    brokers = [word for name, url in urls.items() for word in ("-b", f"{name}={url}")]
    where = (*brokers, "--event-exchange", event_exchange)
    watching = evtop(*where, terminal=(120, 48))
    # Not only 2 of 3.
    watching.wait_screen("  LIVE", deadline=30)
    apps = {name: each.app for name, each in workers.items()}

    def wait_for(ids, cluster):
        row = r"OK +{} .*\b{}\b"
        watching.wait_screen(
            lambda screen: all(re.search(row.format(cluster, one), screen) for one in ids),
            deadline=60,
        )

    for name, app in apps.items():
        wait_for(send(app, 2), name)
    own_redis.kill()
    watching.wait_screen("2 of 3 LIVE", deadline=30)
    watching.wait_screen(lambda screen: re.search(r"eu reconnecting \d+s: cannot reach", screen))
    for name in ("prod", "mq"):
        wait_for(send(apps[name], 8), name)
    watching.wait_screen(lambda screen: len(re.findall(r"OK +eu \d+s ", screen)) == 2)
    watching.press("3")
    watching.wait_screen(
        lambda screen: (
            re.search(r"web-1@cluster +eu \d+s +online", screen)
            and re.search(r"web-1@cluster +mq +online", screen)
            and "1 away" in screen
        )
    )
    own_redis.start()
    watching.wait_screen(
        lambda screen: re.search(r"web-1@cluster +eu +online", screen) and "away" not in screen,
        deadline=60,
    )
    # Connections of the old one are dead.
    apps["eu"] = make_app(urls["eu"], event_exchange, queue=workers["eu"].queue)
    request.addfinalizer(partial(close, apps["eu"]))
    watching.press("1")
    for name, app in apps.items():
        wait_for(send(app, 2), name)

    asking = evtop(
        *where, *("-B", "-n", "0", "-d", "3s", "--view", "workers", "-o", "json"), terminal=None
    )

    def inspected(text):
        rows = [json.loads(line) for line in text.splitlines() if line]
        return {(one["cluster"], one["worker"], one["pool"]) for one in rows}

    asking.wait_block(lambda text: inspected(text) == {(name, "web-1@cluster", 1) for name in urls})
    assert asking.stop() == 0
    watching.press("Q")
    assert watching.wait() == 0


def test_an_action_reaches_the_workers_of_one_cluster_only(
    evtop, worker, redis_server, event_exchange
):
    urls = {"prod": redis_server.fresh_url(), "eu": redis_server.fresh_url()}
    workers = {
        name: worker(url, event_exchange=event_exchange, name="web-1", concurrency=1)
        for name, url in urls.items()
    }
    brokers = [word for name, url in urls.items() for word in ("-b", f"{name}={url}")]
    watching = evtop(
        *brokers, "--event-exchange", event_exchange, "--view", "workers", "cluster:eu",
        "--log-file", "evtop.log", terminal=(120, 32), patient=True,
    )  # fmt: skip
    watching.wait_ready()
    watching.wait_screen("web-1@cluster")
    watching.press("a", "G")
    watching.wait_screen("Number of processes")
    watching.press("enter")
    watching.wait_screen("in cluster eu")
    watching.press("y")
    watching.wait_screen("in eu: 1 of 1 worker replied", deadline=30)
    facts = json.loads((evtop.folder / "evtop.log").read_text().partition("audit ")[2])
    assert (facts["action"], facts["cluster"]) == ("pool-grow", "eu")

    def processes(name):
        inspect = workers[name].app.control.inspect(["web-1@cluster"], timeout=20)
        return len(inspect.stats()["web-1@cluster"]["pool"]["processes"])

    # The worker answers first, and starts it when it looks after its pool the next time.
    wait_until(lambda: processes("eu") == 2, deadline=30, what="the new process")
    assert processes("prod") == 1
    watching.press("Q")
    assert watching.wait() == 0


def test_profiles_are_switched_without_a_restart(evtop, worker, redis_server, event_exchange):
    urls = {"prod": redis_server.fresh_url(), "eu": redis_server.fresh_url()}
    for name, url in urls.items():
        worker(url, event_exchange=event_exchange, name=f"of-{name}")
    (evtop.folder / "evtools.toml").write_text(
        f"event_exchange = {event_exchange!r}\n"
        + "".join(f"[profile.{name}]\nbroker = {url!r}\n" for name, url in urls.items())
        + "[evtop]\nhistory = 'events'\n"
    )
    watching = evtop(
        "--config", "evtools.toml", "--profile", "prod", "--view", "workers", terminal=(80, 24)
    )
    watching.wait_ready()
    watching.wait_screen("of-prod@")
    watching.press(":", *"ctx eu", "enter")
    # What was seen of one cluster is not shown as another's.
    watching.wait_screen("profile eu; no history: events is the history of redis://")
    watching.wait_screen(lambda screen: "of-eu@" in screen and "of-prod@" not in screen)
    watching.press(":", *"ctx nowhere", "enter")
    watching.wait_screen("there is no profile nowhere (there are prod, eu)")
    watching.press("Q")
    assert watching.wait() == 0
