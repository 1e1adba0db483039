"""The state against what really happened, as the application tells it."""

from __future__ import annotations

import pickle
import pytest

from cluster.scenario import Scenario
from cluster.witness import Witness
from servers.rabbitmq import RabbitMQServer


@pytest.fixture(scope="module")
def scenario(broker, redis_server, tmp_path_factory):
    made = Scenario(
        broker_url=broker.url if isinstance(broker, RabbitMQServer) else broker.fresh_url(),
        event_exchange="celeryev.truth",
        result_backend=redis_server.fresh_url(),
        folder=tmp_path_factory.mktemp("scenario"),
        redelivers=isinstance(broker, RabbitMQServer),
    )
    with Witness(made.broker_url, made.event_exchange) as witness:
        try:
            made.play(witness)
            made.witness = witness
            yield made
        finally:
            made.end()


@pytest.mark.timeout(180)
def test_dump(scenario):
    data = {}
    for task in {e["uuid"] for e in scenario.witness.events if e.get("uuid") and e["type"].startswith("task-")}:
        r = scenario.result_of(task)
        data[task] = (r.state, repr(r.result), r.traceback, r.date_done, r.name, r.worker, r.retries, r.queue)
    import shutil, os
    for w in scenario.workers:
        shutil.copy(w.process.log, f"/tmp/b1/{'rmq' if scenario.redelivers else 'redis'}.{os.path.basename(w.folder)}.log")
    with open(f"/tmp/b1/{'rmq' if scenario.redelivers else 'redis'}.pickle", "wb") as f:
        pickle.dump((scenario.uuids, scenario.asked, scenario.witness.events, data), f)
