import contextlib
import shlex

import pytest
from amqp.exceptions import NotAllowed

from evtools.doctor.inspect import ExchangeStatus, OrphanedQueue
from evtools.doctor.network import open_inspector, remedy
from evtools.transport import ConnectionSettings
from evtools.transport.errors import diagnose
from servers.ports import HOST, free_port


def test_of_a_broker_that_only_kombu_knows_little_is_claimed():
    settings = ConnectionSettings(urls="memory://", event_exchange="blue")
    with contextlib.closing(open_inspector(settings)) as inspector:
        inspector.begin()
        assert inspector.server == "memory"
        assert inspector.exchange() == ExchangeStatus("exchange blue")
        assert inspector.has_mailboxes()
        assert inspector.permissions() == inspector.elsewhere() == []
        assert "cannot be asked" in inspector.orphans(["x"]).gap
        assert "not ours" in inspector.remove(OrphanedQueue("queue", "x"))


def test_an_attempt_picks_the_address(redis_url):
    urls = f"redis://{HOST}:{free_port()}/0;{redis_url}"
    settings = ConnectionSettings(urls=urls)
    open_inspector(settings, attempt=1).close()
    with pytest.raises(Exception, match="refused"):
        open_inspector(settings)


# --- remedies ------------------------------------------------------------------------


@pytest.fixture
def refused(rabbitmq_server):
    """Return what there is to type where a user may not into a virtual host."""

    def ask(vhost, user):
        password = rabbitmq_server.users[user]
        url = rabbitmq_server.vhost_url(vhost, user=user, password=password)
        settings = ConnectionSettings(urls=url)
        with pytest.raises(NotAllowed) as raised:
            open_inspector(settings)
        return remedy(diagnose(raised.value, settings), settings)

    return ask


def test_against_a_refusal_there_is_a_command_that_allows_it(refused, rabbitmq_server):
    program, *command = shlex.split(refused("team%2Fqueue", "nobody"))
    assert program == "rabbitmqctl"
    rabbitmq_server.rabbitmqctl(*command)
    url = rabbitmq_server.vhost_url("team%2Fqueue", user="nobody", password="nobody-secret")
    open_inspector(ConnectionSettings(urls=url)).close()
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
