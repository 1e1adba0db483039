import socket
import ssl
from concurrent.futures import ThreadPoolExecutor

import pytest

from evtools.transport.streams import BrokerSilent, Heartbeat, receive


def looks(heartbeat, *moments):
    return [heartbeat.due(moment) for moment in moments]


def test_a_sign_of_life_is_due_twice_in_an_interval():
    heartbeat = Heartbeat(2, 100.0)
    assert looks(heartbeat, 100.5, 101, 101.5, 102, 102.5) == [*(False, True, False, True, False)]


def test_a_broker_is_given_up_after_two_intervals_of_silence():
    heartbeat = Heartbeat(2, 100.0)
    looks(heartbeat, 101, 102, 103, 104)
    with pytest.raises(BrokerSilent, match=r"no sign of life for 4\.5s"):
        heartbeat.due(104.5)


def test_whatever_comes_is_a_sign_of_life():
    heartbeat = Heartbeat(2, 100.0)
    looks(heartbeat, 101, 102, 103)
    heartbeat.alive(103.5)
    looks(heartbeat, 104, 105, 106, 107)
    assert heartbeat.last_seen == 103.5
    with pytest.raises(BrokerSilent):
        heartbeat.due(108)


def test_silence_while_nobody_looked_is_not_held_against_the_broker():
    heartbeat = Heartbeat(2, 100.0)
    looks(heartbeat, 101, 102)
    assert heartbeat.due(200)
    looks(heartbeat, 201, 202)
    assert heartbeat.last_seen == 100.0
    with pytest.raises(BrokerSilent):
        heartbeat.due(203)


def test_all_records_of_tls_are_read_at_once(authority):
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(authority.server.cert, authority.server.key)
    client = ssl.create_default_context(cafile=str(authority.ca))
    theirs, ours = socket.socketpair()
    with ThreadPoolExecutor() as pool:
        shaking = pool.submit(server.wrap_socket, theirs, server_side=True)
        with client.wrap_socket(ours, server_hostname="localhost") as sock:
            with shaking.result(10) as sender:
                for _ in range(100):
                    sender.sendall(b"x" * 600)
                assert len(receive(sock, 10)) == 60_000
                with pytest.raises(TimeoutError):
                    receive(sock, 0.01)
                sender.sendall(b"last")
            assert receive(sock, 10) == b"last"
            assert receive(sock, 10) == b""
