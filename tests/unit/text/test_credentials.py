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
        ("", ""),
    ],
)
def test_what_stands_before_the_host_is_hidden(text, hidden):
    assert hide_credentials(text) == hidden
