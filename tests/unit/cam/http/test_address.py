"""Addresses to listen on, as people write them."""

import pytest

from evtools.cam.http.address import Address
from evtools.errors import UsageError


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("127.0.0.1:9808", "127.0.0.1", 9808),
        ("0.0.0.0:80", "0.0.0.0", 80),
        ("localhost:0", "localhost", 0),
        ("[::1]:9808", "::1", 9808),
        ("9808", "127.0.0.1", 9808),
        (":9808", "127.0.0.1", 9808),
        (" 9808 ", "127.0.0.1", 9808),
    ],
)
def test_an_address_is_a_host_and_a_port(text, host, port):
    assert Address.of(text) == Address(host, port)


@pytest.mark.parametrize(
    "text", ["", "host", "host:", "host:http", "::1:80", "1:2:3", "h:65536", "h:-1", "h:٣"]
)
def test_anything_else_is_none(text):
    with pytest.raises(UsageError, match="cannot listen on"):
        Address.of(text)


def test_an_address_is_shown_as_it_is_written():
    assert str(Address("::1", 80)) == "[::1]:80"
    assert str(Address("localhost", 80)) == "localhost:80"


def test_what_was_written_is_shown_printable():
    with pytest.raises(UsageError, match=r"\\x1b"):
        Address.of("\x1b:http")
