import contextlib

import pytest
from redis.exceptions import NoPermissionError

from evtools.errors import UsageError
from evtools.transport import ConnectionSettings
from evtools.transport.examinations.amqp import AMQPExamination
from evtools.transport.examinations.plain import PlainExamination
from evtools.transport.examinations.redis import RedisExamination
from evtools.transport.examiner import examine
from servers.ports import HOST, free_port


@pytest.mark.parametrize(
    ("fixture", "kind"),
    [("redis_url", RedisExamination), ("rabbitmq_url", AMQPExamination)],
)
def test_each_kind_of_broker_has_its_examination(request, fixture, kind):
    settings = ConnectionSettings(urls=request.getfixturevalue(fixture))
    with contextlib.closing(examine(settings)) as examination:
        assert isinstance(examination, kind)


def test_a_broker_that_only_kombu_knows_is_examined_plainly():
    with contextlib.closing(
        examine(ConnectionSettings(urls="memory://"))
    ) as examination:
        assert isinstance(examination, PlainExamination)


def test_an_attempt_picks_the_address(redis_url):
    urls = f"redis://{HOST}:{free_port()}/0;{redis_url}"
    settings = ConnectionSettings(urls=urls)
    examine(settings, attempt=1).close()
    with pytest.raises(Exception, match="refused"):
        examine(settings)


def test_a_broker_without_events_is_refused():
    with pytest.raises(UsageError, match="SQS carries no events"):
        examine(ConnectionSettings(urls="sqs://"))


def test_what_the_broker_says_is_raised(redis_acl):
    url = f"redis://nobody:nobody-secret@{HOST}:{redis_acl.port}/0"
    with pytest.raises(NoPermissionError):
        examine(ConnectionSettings(urls=url))
