"""A clean environment, real brokers, real workers, the real command."""

from __future__ import annotations

import itertools
import os
import signal
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from cluster.celery_capture import CeleryCapture
from cluster.worker import Worker
from evtools.top import batch, check
from evtools.top.status import ConnectionStatus
from servers.clickhouse import ClickHouseServer
from servers.postgres import PostgresServer
from servers.rabbitmq import RabbitMQServer
from servers.redis import RedisServer, Sentinel
from servers.tls import Authority, make_authority
from tools.clock import HeldClock
from tools.command import EvdumpStarter

if TYPE_CHECKING:
    from evtools.transport import Notice

# What a developer's shell may hold and no test may notice; and what would measure the
# coverage of each program that a test starts. That takes a third of a second each time,
# and the tests in this process cover the same lines.
_FOREIGN_PREFIXES = (
    *("EVTOOLS_", "EVTOP_", "EVDUMP_", "EVCAM_", "CELERY_", "C_FORCE_"),
    *("COVERAGE_", "XDG_", "LC_"),
)
_FOREIGN = (
    *("BROKER_URL", "CELERY_CONFIG_MODULE", "DJANGO_SETTINGS_MODULE"),
    *("NO_COLOR", "FORCE_COLOR", "CLICOLOR", "CLICOLOR_FORCE", "COLORTERM"),
    *("CLICKHOUSE_USER", "CLICKHOUSE_PASSWORD"),
    *("PGHOST", "PGPORT", "PGUSER", "PGDATABASE", "PGPASSWORD", "PGSERVICE"),
    *("COLUMNS", "LINES", "PAGER", "LESS", "TZ", "LANGUAGE"),
    *("TTY_COMPATIBLE", "TTY_INTERACTIVE", "NOTIFY_SOCKET", "SOURCE_DATE_EPOCH"),
    *("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY"),
)

# A busy machine takes its time.
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")


def pytest_configure() -> None:
    """End as after Ctrl-C, servers and all, when the terminal closes or time is up.

    What our caller ignores we let pass, but with a handler: what tests start has the
    defaults then, and not what nohup or a shell's `&` would have it ignore.
    """
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
        if signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, _let_pass)
        elif number in {signal.SIGTERM, signal.SIGHUP}:
            signal.signal(number, signal.default_int_handler)


def _let_pass(_number: int, _frame: object) -> None:
    """Do nothing."""


@pytest.fixture(scope="session", autouse=True)
def clean_environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[pytest.MonkeyPatch]:
    """Take the caller's settings, colours and home directory out of the environment."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.startswith(_FOREIGN_PREFIXES) or name in _FOREIGN:
                patch.delenv(name)
        patch.setenv("HOME", str(home))
        patch.setenv("LANG", "C.UTF-8")
        patch.setenv("TERM", "xterm-256color")
        yield patch


# --- Redis -----------------------------------------------------------------------


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Certificates for everything that speaks TLS in this run."""
    return make_authority(tmp_path_factory.mktemp("tls"))


StartRedis = Callable[..., RedisServer]


@pytest.fixture(scope="session")
def start_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartRedis]:
    """Start Redis servers that live until the end of the run, or until killed."""
    started = []

    def start(**settings: object) -> RedisServer:
        server = RedisServer(tmp_path_factory.mktemp("redis"), **settings)
        started.append(server)
        server.start()
        return server

    yield start
    for server in started:
        server.kill()


@pytest.fixture(scope="session")
def redis_server(start_redis: StartRedis, authority: Authority) -> RedisServer:
    """The Redis that tests share, plain and TLS: do not stop it, do not freeze it."""
    return start_redis(authority=authority)


@pytest.fixture
def redis_url(redis_server: RedisServer) -> str:
    """The URL of a database nobody has used."""
    return redis_server.fresh_url()


@pytest.fixture
def redis_tls(redis_server: RedisServer) -> str:
    """A rediss:// URL of a fresh database; certificates are in `authority`."""
    return redis_server.fresh_tls_url()


@pytest.fixture(scope="session")
def redis_mutual_tls(start_redis: StartRedis, authority: Authority) -> RedisServer:
    """A Redis whose TLS port takes nobody without a client certificate."""
    return start_redis(authority=authority, client_certificates="yes")


@pytest.fixture(scope="session")
def redis_acl(start_redis: StartRedis) -> RedisServer:
    """A Redis that takes nobody without a name; see `servers.redis.USERS`."""
    return start_redis(default_user=False)


@pytest.fixture
def own_redis(start_redis: StartRedis, authority: Authority) -> Iterator[RedisServer]:
    """A Redis for one test, to stop, kill and freeze."""
    server = start_redis(authority=authority)
    yield server
    server.kill()


StartSentinel = Callable[..., Sentinel]


@pytest.fixture
def start_sentinel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartSentinel]:
    """Start Sentinels: `start_sentinel(master, password=..., authority=...)`."""
    started = []

    def start(master: RedisServer, **settings: object) -> Sentinel:
        server = Sentinel(tmp_path_factory.mktemp("sentinel"), master, **settings)
        started.append(server)
        server.start()
        return server

    yield start
    for server in started:
        server.kill()


@pytest.fixture
def sentinel(own_redis: RedisServer, start_sentinel: StartSentinel) -> Sentinel:
    """A Sentinel and, as its master, the Redis of `own_redis`."""
    return start_sentinel(own_redis)


# --- RabbitMQ --------------------------------------------------------------------


@pytest.fixture(scope="session")
def rabbitmq_server(
    tmp_path_factory: pytest.TempPathFactory, authority: Authority
) -> Iterator[RabbitMQServer]:
    """The RabbitMQ that tests share, plain and TLS: do not stop it or freeze it."""
    yield from _rabbitmq(tmp_path_factory, authority)


@pytest.fixture(scope="module")
def _mortal_rabbitmq(
    tmp_path_factory: pytest.TempPathFactory, authority: Authority
) -> Iterator[RabbitMQServer]:
    yield from _rabbitmq(tmp_path_factory, authority)


@pytest.fixture
def own_rabbitmq(_mortal_rabbitmq: RabbitMQServer) -> RabbitMQServer:
    """A RabbitMQ to stop, kill and freeze: it costs seconds, so a file has one."""
    if _mortal_rabbitmq.process.running:
        _mortal_rabbitmq.thaw()
    else:
        _mortal_rabbitmq.start()
    return _mortal_rabbitmq


def _rabbitmq(
    tmp_path_factory: pytest.TempPathFactory, authority: Authority
) -> Iterator[RabbitMQServer]:
    server = RabbitMQServer(tmp_path_factory.mktemp("rabbitmq"), authority=authority)
    try:
        server.start()
        yield server
    finally:
        server.end()


@pytest.fixture
def rabbitmq_url(rabbitmq_server: RabbitMQServer) -> str:
    """The URL of the default virtual host. Take an `event_exchange` of your own."""
    return rabbitmq_server.url


@pytest.fixture
def rabbitmq_tls(rabbitmq_server: RabbitMQServer) -> str:
    """The amqps:// URL of the default virtual host; certificates are in `authority`."""
    return rabbitmq_server.tls_url


# --- PostgreSQL ------------------------------------------------------------------


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """The PostgreSQL that tests share: do not stop it, do not freeze it."""
    yield from _postgres()


@pytest.fixture
def own_postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL for one test, to stop and freeze."""
    yield from _postgres()


def _postgres() -> Iterator[PostgresServer]:
    server = PostgresServer()
    try:
        server.start()
        yield server
    finally:
        server.end()


@pytest.fixture
def postgres_url(postgres_server: PostgresServer) -> str:
    """The URL of a database nobody has used."""
    return postgres_server.fresh_url()


# --- ClickHouse ------------------------------------------------------------------


@pytest.fixture(scope="session")
def old_clickhouse(authority: Authority) -> Iterator[ClickHouseServer]:
    """Debian's ClickHouse, of 2018, plain and TLS, that tests share."""
    yield from _clickhouse(is_modern=False, authority=authority)


@pytest.fixture(scope="session")
def new_clickhouse() -> Iterator[ClickHouseServer]:
    """The engine of today, behind HTTP, that tests share."""
    yield from _clickhouse(is_modern=True)


@pytest.fixture
def own_clickhouse() -> Iterator[ClickHouseServer]:
    """Debian's ClickHouse for one test, to stop and freeze."""
    yield from _clickhouse(is_modern=False)


@pytest.fixture(params=["old", "new"])
def clickhouse(request: pytest.FixtureRequest) -> ClickHouseServer:
    """Each of the two shared servers in turn."""
    server: ClickHouseServer = request.getfixturevalue(f"{request.param}_clickhouse")
    return server


def _clickhouse(
    *, is_modern: bool, authority: Authority | None = None
) -> Iterator[ClickHouseServer]:
    server = ClickHouseServer(is_modern=is_modern, authority=authority)
    try:
        server.start()
        yield server
    finally:
        server.end()


# --- Either ----------------------------------------------------------------------

_exchange_numbers = itertools.count(1)


@pytest.fixture
def event_exchange() -> str:
    """The name of an event exchange that nobody has used."""
    return f"celeryev.test{next(_exchange_numbers)}"


@pytest.fixture(scope="session", params=["redis", "rabbitmq"])
def broker(request: pytest.FixtureRequest) -> RedisServer | RabbitMQServer:
    """Each of the two shared servers in turn."""
    server: RedisServer | RabbitMQServer = request.getfixturevalue(f"{request.param}_server")
    return server


@pytest.fixture
def broker_url(broker: RedisServer | RabbitMQServer) -> str:
    """The URL of each shared server in turn: a fresh database, or the default vhost."""
    return broker.fresh_url() if isinstance(broker, RedisServer) else broker.url


@pytest.fixture(params=["redis", "rabbitmq"])
def own_broker(request: pytest.FixtureRequest) -> RedisServer | RabbitMQServer:
    """Each kind of server in turn, for one test to stop, kill and freeze."""
    server: RedisServer | RabbitMQServer = request.getfixturevalue(f"own_{request.param}")
    return server


# --- Celery ----------------------------------------------------------------------

_queue_numbers = itertools.count(1)

StartWorker = Callable[..., Worker]


@pytest.fixture(scope="session")
def _start_any_worker(tmp_path_factory: pytest.TempPathFactory) -> StartWorker:
    def start(broker_url: str, **settings: object) -> Worker:
        return Worker(broker_url, tmp_path_factory.mktemp("worker"), **settings)

    return start


@pytest.fixture
def worker(_start_any_worker: StartWorker) -> Iterator[StartWorker]:
    """Start real Celery workers: `worker(broker_url, event_exchange=..., ...)`.

    They are worker1, worker2 and so on, and share a task queue of this test's own.
    """
    started = []
    queue = f"tasks{next(_queue_numbers)}"

    def start(broker_url: str, **settings: object) -> Worker:
        settings.setdefault("queue", queue)
        settings.setdefault("name", f"worker{len(started) + 1}")
        made = _start_any_worker(broker_url, **settings)
        started.append(made)
        made.start()
        return made

    yield start
    for made in started:
        made.end()


@pytest.fixture(scope="session")
def celery_worker(
    broker: RedisServer | RabbitMQServer, _start_any_worker: StartWorker
) -> Iterator[Worker]:
    """One worker per broker that tests share; it has a queue and exchange of its own.

    Do not stop it. Its `.app`, `.broker_url` and `.event_exchange` say where it is.
    """
    url = broker.fresh_url() if isinstance(broker, RedisServer) else broker.url
    made = _start_any_worker(url, event_exchange="celeryev.shared", queue="shared", name="shared")
    try:
        made.start()
        yield made
    finally:
        made.end()


StartCapture = Callable[..., CeleryCapture]


@pytest.fixture
def celery_capture() -> Iterator[StartCapture]:
    """Watch with Celery's own receiver: `celery_capture(broker_url, exchange, ca=...)`.

    The capture is bound to its exchange when the call returns.
    """
    started = []

    def start(broker_url: str, *args: str, **settings: object) -> CeleryCapture:
        capture = CeleryCapture(broker_url, *args, **settings)
        started.append(capture)
        capture.start()
        return capture

    yield start
    for capture in started:
        capture.stop()


# --- The command -----------------------------------------------------------------


@pytest.fixture
def evdump(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EvdumpStarter]:
    """Start the real command: `evdump("-b", url)`, or with `terminal=(80, 24)`."""
    starter = EvdumpStarter(tmp_path_factory.mktemp("evdump"))
    yield starter
    starter.end()


@pytest.fixture
def until_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no time pass for a batch or a check of evtop until it has tried to reach the broker."""
    clock, real = HeldClock(), ConnectionStatus.apply

    def apply(status: ConnectionStatus, notice: Notice) -> None:
        real(status, notice)
        clock.let_go()

    monkeypatch.setattr(ConnectionStatus, "apply", apply)
    for module in (batch, check):
        monkeypatch.setattr(module, "SystemClock", lambda: clock)
