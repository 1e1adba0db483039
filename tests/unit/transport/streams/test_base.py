import socket
import ssl
from concurrent.futures import ThreadPoolExecutor

import pytest

from evtools.transport.streams import BrokerSilent, SocketStream


class Wire(SocketStream):
    """A stream of which somebody looks at the heartbeat at the moments that a test says."""

    def __init__(self):
        self.broker, ours = socket.socketpair()
        super().__init__(ours, 2)

    def close(self):
        self.broker.close()
        self._sock.close()


@pytest.fixture
def look(clock, wire):
    def look(*moments):
        found = []
        for clock.now in moments:
            found.append(wire._needs_heartbeat())
        return found

    return look


def test_a_sign_of_life_is_due_twice_in_an_interval(look):
    assert look(100.5, 101, 101.5, 102, 102.5) == [False, True, False, True, False]


def test_a_broker_is_given_up_after_two_intervals_of_silence(look):
    look(101, 102, 103, 104)
    with pytest.raises(BrokerSilent, match=r"no sign of life for 4\.5s"):
        look(104.5)


def test_whatever_comes_is_a_sign_of_life(look, wire):
    look(101, 102, 103, 103.5)
    wire.broker.send(b"x")
    assert wire._receive(1) == b"x"
    look(104, 105, 106, 107)
    assert wire.last_seen == 103.5
    with pytest.raises(BrokerSilent):
        look(108)


def test_silence_while_nobody_looked_is_not_held_against_the_broker(look, wire):
    look(101, 102)
    assert look(200) == [True]
    look(201, 202)
    assert wire.last_seen == 100.0
    with pytest.raises(BrokerSilent):
        look(203)


def test_all_records_of_tls_are_read_at_once(authority):
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(authority.server.cert, authority.server.key)
    client = ssl.create_default_context(cafile=str(authority.ca))
    theirs, ours = socket.socketpair()
    with ThreadPoolExecutor() as pool:
        shaking = pool.submit(server.wrap_socket, theirs, server_side=True)
        with client.wrap_socket(ours, server_hostname="localhost") as sock:
            stream = SocketStream(sock, 0)
            with shaking.result(10) as sender:
                for _ in range(100):
                    sender.sendall(b"x" * 600)
                assert len(stream._receive(10)) == 60_000
                assert stream._receive(0.01) == b""
                sender.sendall(b"last")
            assert stream._receive(10) == b"last"
            with pytest.raises(ConnectionResetError):
                stream._receive(10)
