"""Passwords in messages from elsewhere: hidden, in whatever way they are written."""

import pytest

from evtools.text import hide_credentials


@pytest.mark.parametrize(
    ("text", "hidden"),
    [
        ("cannot reach redis://:s3kr1t@h/0: no", "cannot reach redis://**@h/0: no"),
        ("amqp://u:p@ss@h and redis://:x@i/1", "amqp://**@h and redis://**@i/1"),
        ("postgresql://u@h/db", "postgresql://**@h/db"),
        ("redis://h/0?mail=a@b", "redis://h/0?mail=a@b"),
        ("me@example.org", "me@example.org"),
        ("postgresql://app:s3/kr1t@db/x", "postgresql://**@db/x"),
        ("postgresql%3A%2F%2Fapp%3As3kr1t%40db%2Fx", "postgresql%3A%2F%2F**%40db%2Fx"),
        ("redis://a/0;redis://u:p@b/0", "redis://a/0;redis://**@b/0"),
        ("http://h:80/path@x", "http://h:80/path@x"),
        # What is hidden already, and what stands for it in our advice.
        ("cannot use redis://nobody:**@h", "cannot use redis://nobody:**@h"),
        ("amqp://USER:PASSWORD@host", "amqp://USER:PASSWORD@host"),
        ("redis://:PASSWORD@host", "redis://:PASSWORD@host"),
        ("", ""),
    ],
)
def test_what_stands_before_the_host_is_hidden(text, hidden):
    assert hide_credentials(text) == hidden


@pytest.mark.parametrize(
    ("text", "hidden"),
    [
        ("host=db password=s3kr1t user=x", "host=db password=** user=x"),
        ("password='s3 kr1t' host=db", "password=** host=db"),
        ("SERVER=db;PWD={s3;kr1t};x=1", "SERVER=db;PWD=**;x=1"),
        ("sslpassword=s3kr1t", "sslpassword=**"),
        ("https://h/?u=x&token=s3kr1t&a=b", "https://h/?u=x&token=**&a=b"),
        ("{'password': 's3kr1t', 'port': 1}", "{'password': **, 'port': 1}"),
        ('{"api_key": "s3kr1t"}', '{"api_key": **}'),
        ("connect(passwd='s3kr1t')", "connect(passwd=**)"),
        ("(b'password', b's3kr1t')", "(b'password', b**)"),
        ("password: s3kr1t", "password: **"),
        ("['psql', '--password', 's3kr1t']", "['psql', '--password', **]"),
        ("mysql --password s3kr1t -x", "mysql --password ** -x"),
        ("AUTH app s3kr1t", "AUTH **"),
        ("['AUTH', 's3kr1t']", "['AUTH', **]"),
        ("unknown command `AUTH`, with args beginning with: `s3kr1t`, ",
         "unknown command `AUTH`, with args beginning with: **"),
        ("requirepass s3kr1t", "requirepass **"),
        ("{'Authorization': 'Basic czNrcjF0'}", "{'Authorization': 'Basic **'}"),
        ("Authorization: Bearer s3kr1ts3kr1t", "Authorization: Bearer **"),
    ],
)  # fmt: skip
def test_other_ways_to_write_a_password_are_known(text, hidden):
    assert hide_credentials(text) == hidden
    assert "s3" not in hidden


@pytest.mark.parametrize(
    "text",
    [
        'FATAL: password authentication failed for user "app"', "wrong password: try again now",
        "NOAUTH Authentication required.",
        "ERR AUTH <password> called without any password configured",
        "Client sent AUTH, but no password is set",
        "WRONGPASS invalid username-password pair or user is disabled.",
        "Login was refused using authentication mechanism PLAIN", "Unexpected token: foo",
        "max_tokens=5 author=me bypass", "KeyError: 'token'", "https://example.com/@user/x",
    ],
)  # fmt: skip
def test_what_only_speaks_of_passwords_stays(text):
    assert hide_credentials(text) == text


@pytest.mark.parametrize(
    "part", ["a", "a-", "://a:", "%3A%2F%2F", "--a", "password='", "AUTH ", "'", "\\"]
)
def test_long_text_takes_no_longer_for_being_odd(part):
    hide_credentials(part * (200_000 // len(part)))


def test_options_that_name_no_secret_stay():
    text = "--tls-cert FILE --tls-key FILE --event-routing-key task.failed"
    assert hide_credentials(text) == text
    assert hide_credentials("--access-key FILE") == "--access-key **"
