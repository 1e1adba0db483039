import contextlib
import shlex

import pytest
from amqp.exceptions import NotAllowed
from redis.exceptions import AuthenticationError

from evtools.doctor.inspect import examine, remedy
from evtools.doctor.inspect.amqp import AMQPExamination
from evtools.doctor.inspect.other import PlainExamination
from evtools.doctor.inspect.redis import RedisExamination
from evtools.errors import UsageError
from evtools.transport import ConnectionSettings
from evtools.transport.errors import diagnose
from servers.ports import HOST, free_port


@pytest.mark.parametrize(
    ("fixture", "kind"), [("redis_url", RedisExamination), ("rabbitmq_url", AMQPExamination)]
)
def test_each_kind_of_broker_has_its_examination(request, fixture, kind):
    settings = ConnectionSettings(urls=request.getfixturevalue(fixture))
    with contextlib.closing(examine(settings)) as examination:
        assert isinstance(examination, kind)


def test_a_broker_that_only_kombu_knows_is_examined_plainly():
    with contextlib.closing(examine(ConnectionSettings(urls="memory://"))) as examination:
        assert isinstance(examination, PlainExamination)


def test_an_attempt_picks_the_address(redis_url):
    urls = f"redis://{HOST}:{free_port()}/0;{redis_url}"
    settings = ConnectionSettings(urls=urls)
    examine(settings, attempt=1).close()
    with pytest.raises(Exception, match="refused"):
        examine(settings)


def test_a_broker_without_events_is_refused():
    with pytest.raises(UsageError, match="SQS is not supported"):
        examine(ConnectionSettings(urls="sqs://"))


def test_what_the_broker_says_is_raised(redis_acl):
    url = f"redis://listener:wr0ng@{HOST}:{redis_acl.port}/0"
    with pytest.raises(AuthenticationError):
        examine(ConnectionSettings(urls=url))


# --- remedies ------------------------------------------------------------------------


@pytest.fixture
def refused(rabbitmq_server):
    """Return what there is to type where a user may not into a virtual host."""

    def ask(vhost, user):
        password = rabbitmq_server.users[user]
        url = rabbitmq_server.vhost_url(vhost, user=user, password=password)
        settings = ConnectionSettings(urls=url)
        with pytest.raises(NotAllowed) as raised:
            examine(settings)
        return remedy(diagnose(raised.value, settings), settings)

    return ask


def test_against_a_refusal_there_is_a_command_that_allows_it(refused, rabbitmq_server):
    program, *command = shlex.split(refused("team%2Fqueue", "nobody"))
    assert program == "rabbitmqctl"
    rabbitmq_server.rabbitmqctl(*command)
    url = rabbitmq_server.vhost_url("team%2Fqueue", user="nobody", password="nobody-secret")
    examine(ConnectionSettings(urls=url)).close()
    rabbitmq_server.rabbitmqctl("clear_permissions", "-p", "team/queue", "nobody")


def test_against_a_virtual_host_that_is_not_there_is_a_list(refused, rabbitmq_server):
    program, *command = refused("nosuch", "guest").split()
    assert program == "rabbitmqctl"
    assert "staging" in rabbitmq_server.rabbitmqctl(*command)


@pytest.mark.parametrize(
    ("error", "command"),
    [
        (NotAllowed("NOT_ALLOWED - vhost staging not found"), "rabbitmqctl -q list_vhosts"),
        (ConnectionRefusedError(), ""),
    ],
)
def test_against_other_failures_no_right_helps(error, command):
    settings = ConnectionSettings(urls="amqp://x@h//")
    assert remedy(diagnose(error, settings), settings) == command
