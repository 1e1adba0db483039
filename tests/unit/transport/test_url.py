import pytest
from hypothesis import given
from hypothesis import strategies as st
from kombu.transport import TRANSPORT_ALIASES

from evtools.errors import UsageError
from evtools.transport.connection import check_transport
from evtools.transport.settings import ConnectionSettings
from evtools.transport.url import (
    KINDS,
    REFUSED,
    BadURL,
    is_secret,
    kind_of,
    mask,
    mask_options,
    parse,
    secrets,
    split,
    with_vhost,
)

SECRET = "s3kr1t"


# fmt: off
MASKED = [
    ("redis://localhost:6379/0", "redis://localhost:6379/0"),
    (f"redis://:{SECRET}@host:6379/0", "redis://:**@host:6379/0"),
    (f"redis://user:{SECRET}@host/0", "redis://user:**@host/0"),
    (f"redis://{SECRET}@host/0", "redis://**@host/0"),
    ("redis://user:@host/0", "redis://user:**@host/0"),
    (f"amqp://guest:{SECRET}@h:5672//", "amqp://guest:**@h:5672//"),
    ("amqp://guest@localhost//", "amqp://guest@localhost//"),
    ("amqp://guest:%73@[::1]:5672/v%2Fh", "amqp://guest:**@[::1]:5672/v%2Fh"),
    (f"redis://:a@{SECRET}@host", "redis://:**@host"),
    (f"redis://:a:{SECRET}@host", "redis://:**@host"),
    (f"sentinel://:{SECRET}@a:26379;sentinel://:{SECRET}@b:26379/0",
     "sentinel://:**@a:26379;sentinel://:**@b:26379/0"),
    (f"sentinel://:{SECRET}@a:26379;b:26379/0",
     "sentinel://:**@a:26379;sentinel://:**@b:26379/0"),
    (f"redis://h/0?password={SECRET}", "redis://h/0?password=**"),
    (f"redis://h/0?{SECRET}", "redis://h/0?**"),
    (f"redis://h/0?{SECRET}=1", "redis://h/0?**"),
    (f"rediss://:{SECRET}@h/0?ssl_cert_reqs=none&token={SECRET}",
     "rediss://:**@h/0?ssl_cert_reqs=none&token=**"),
    (f"redis+socket://:{SECRET}@/run/redis.sock", "redis+socket://:**@/run/redis.sock"),
    # What cannot be read is hidden as a whole.
    (f"redis://:{SECRET}/x@host/0", "redis://**"),
    (f"redis://:12/{SECRET}@host/0", "redis://**"),
    (f"redis://:{SECRET}?x@host/0", "redis://**"),
    (f"redis://:{SECRET}#x@host/0", "redis://**"),
    (f"redis://:12;{SECRET}@host/0", "redis://**"),
    (f"redis://:{SECRET};x@host/0", "redis://**"),
    (f"redis://{SECRET}:x:y/0", "redis://**"),
    (f"redis://u:{SECRET}@h/0?a=b@c", "redis://**"),
    ("redis://host:99999/0", "redis://**"),
    (f"user:{SECRET}@host", "**"),
    ("", "**"),
]
# fmt: on


@pytest.mark.parametrize(("urls", "shown"), MASKED)
def test_a_password_is_masked_in_every_shape_of_url(urls, shown):
    assert mask(urls) == shown
    assert SECRET not in mask(urls)


@given(st.text(min_size=1), st.sampled_from(["redis", "amqp", "sentinel"]))
def test_no_raw_password_is_ever_shown(password, scheme):
    # "::" is nowhere else in the URL, so finding it means a leak.
    secret = f"::{password}::"
    assert secret not in mask(f"{scheme}://user:{secret}@host:1/0")
    assert secret not in mask(f"{scheme}://a:1;{scheme}://user:{secret}@host:1/0")


def test_an_address_is_taken_apart():
    address = parse("amqps://me:p%40@[::1]:5671/team%2Fq?ssl_cert_reqs=none")
    assert (address.scheme, address.user, address.password) == ("amqps", "me", "p%40")
    assert (address.hostname, address.port, address.path) == ("::1", 5671, "team%2Fq")
    assert address.parameters == {"ssl_cert_reqs": "none"}


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("localhost:6379", "no scheme"),
        ("redis://h:0/0", "between 1 and 65535"),
        ("redis://h:port/0", "percent-encoded"),
    ],
)
def test_a_bad_url_is_refused_with_the_reason(url, reason):
    with pytest.raises(BadURL, match=reason):
        parse(url)


def test_a_list_entry_takes_what_it_lacks_from_the_first():
    urls = ["amqp://u:p@a:1/v", "amqp://u:p@b:2/v", "amqp://u:p@c/w", "amqp://d//"]
    assert split("amqp://u:p@a:1/v; b:2 ;c/w;amqp://d//;") == urls
    with pytest.raises(BadURL, match="%3B"):
        split("redis://:1;2@host/0")


def test_secrets_are_found_escaped_and_plain():
    assert secrets("redis://:a%40b@h/0?token=t&virtual_host=1") == {"a%40b", "a@b", "t"}
    assert secrets("redis://alone@h") == {"alone"}
    assert secrets("amqp://guest@h") == set()
    assert secrets("redis://:x/y@h") == {":x/y@h"}
    assert secrets("nonsense") == {"nonsense"}


def test_options_are_masked_at_every_depth():
    options = {"master_name": "m", "sentinel_kwargs": {"password": "x"}, "token": ""}
    assert mask_options(options) == {**options, "sentinel_kwargs": {"password": "**"}}
    assert is_secret("redis_Password")


@pytest.mark.parametrize(
    ("url", "changed"),
    [
        ("redis://:s%3A@h:1/0", "redis://:s%3A@h:1/7"),
        ("amqp://h", "amqp://h/7"),
        ("redis://h/0?virtual_host=3&ssl_cert_reqs=none", "redis://h/7?ssl_cert_reqs=none"),
        ("redis+socket:///run/r.sock", "redis+socket:///run/r.sock?virtual_host=7"),
    ],
)
def test_the_virtual_host_of_an_address_can_be_changed(url, changed):
    assert with_vhost(url, "7") == changed
    with pytest.raises(BadURL):
        with_vhost("no url", "7")


# --- kinds of broker -------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(TRANSPORT_ALIASES))
def test_every_transport_of_kombu_is_either_taken_or_refused(name):
    assert (name in KINDS) != (name.lower() in REFUSED)


@pytest.mark.parametrize(
    ("urls", "words"),
    [
        ("sqs://key:secret@", "SQS is not supported"),
        ("SQS://key:secret@", "SQS is not supported"),
        ("sqla+postgresql://u:secret@h/db", "An SQL database is not supported"),
        ("sqlalchemy+sqlite:///x.db", "An SQL database is not supported"),
        ("kafka://h", "Kafka is not supported"),
        ("filesystem://", "outlives its reader"),
        ("mongodb://u:secret@h", "MongoDB is not supported"),
        ("redis+cluster://h", "cannot use Redis Cluster"),
        ("rediss+cluster://h", "cannot use Redis Cluster"),
        ("valkey+cluster://h", "Valkey Cluster is not supported"),
        ("gcpubsub://projects/x", "Google Pub/Sub is not supported"),
        ("qpid://h", "Qpid's own transport is not supported"),
    ],
)
def test_a_broker_without_events_is_refused_with_the_reason(urls, words):
    with pytest.raises(UsageError, match=words) as caught:
        check_transport(ConnectionSettings(urls=urls))
    assert "secret" not in caught.value.message
    assert "amqp://" in caught.value.hint
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("scheme", "hint"),
    [
        ("valky", "did you mean valkey:// ?"),
        ("valkey+sentinel", "did you mean sentinel:// ?"),
        ("rabbitmq", "did you mean amqp:// ?"),
        ("rabbitmqs", "did you mean amqp:// ?"),
        ("reddis", "did you mean redis:// ?"),
        ("xyzzy", "events need a broker that hands every reader a copy: RabbitMQ"),
    ],
)
def test_an_unknown_broker_is_guessed(scheme, hint):
    with pytest.raises(UsageError, match="unknown kind of broker") as caught:
        kind_of(scheme)
    assert caught.value.hint.startswith(hint)


def test_a_list_is_of_one_kind():
    with pytest.raises(UsageError, match="mixes kinds") as caught:
        check_transport(ConnectionSettings(urls="amqp://u:secret@a;redis://b"))
    assert "secret" not in caught.value.message
    check_transport(ConnectionSettings(urls="redis://a;rediss://b"))


def test_sentinel_needs_the_name_of_its_master():
    with pytest.raises(UsageError, match="name of the master") as caught:
        check_transport(ConnectionSettings(urls="sentinel://a"))
    assert "--broker-option master_name=" in caught.value.hint
    check_transport(ConnectionSettings(urls="sentinel://a", options={"master_name": "m"}))


@pytest.mark.parametrize("url", ["redis://", "redis+socket:///tmp/x", "memory://"])
def test_only_rabbitmq_can_share_out_events(url):
    with pytest.raises(UsageError, match="--queue ours: only RabbitMQ"):
        check_transport(ConnectionSettings(urls=url, event_queue="ours"))
    check_transport(ConnectionSettings(urls="amqp://", event_queue="ours"))
