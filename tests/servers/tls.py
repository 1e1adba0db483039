"""A certificate authority made for one test run, and what it signs."""

from __future__ import annotations

import socket
import socketserver
import ssl
import subprocess
import threading
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from servers.ports import HOST
from servers.process import program

if TYPE_CHECKING:
    from pathlib import Path

_KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]


@dataclass(frozen=True)
class Certificate:
    """A certificate and its key, both PEM files."""

    cert: Path
    key: Path


@dataclass(frozen=True)
class Authority:
    """A CA with a server and a client certificate.

    `server` is for localhost and 127.0.0.1, `stranger` for another host name,
    `expired` as `server`, but until yesterday; `other` is a CA that has signed nothing.
    """

    ca: Path
    server: Certificate
    stranger: Certificate
    expired: Certificate
    client: Certificate
    other: Path


class NamedProxy:
    """A TLS port before a broker's plain one that wants to be called by a name.

    It hangs up on who calls it otherwise, or by no name, as proxies do that serve
    several brokers.
    """

    def __init__(self, port: int, name: str, shown: Certificate) -> None:
        self.called: list[str | None] = []
        self._name = name
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(shown.cert, shown.key)
        context.sni_callback = self._check
        self._server = _NamedServer((HOST, 0), _Handler)
        self._server.context, self._server.behind = context, port
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def _check(self, _: object, name: str | None, __: object) -> int | None:
        self.called.append(name)
        return None if name == self._name else ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME

    def close(self) -> None:
        """Take no more connections."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _NamedServer(socketserver.ThreadingTCPServer):
    daemon_threads = True
    block_on_close = False
    context: ssl.SSLContext
    behind: int


class _Handler(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        with suppress(OSError), ExitStack() as stack:
            front = stack.enter_context(
                self.server.context.wrap_socket(self.request, server_side=True)
            )
            back = stack.enter_context(socket.create_connection((HOST, self.server.behind)))
            pump = threading.Thread(target=_pump, args=(back, front), daemon=True)
            pump.start()
            _pump(front, back)


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    with suppress(OSError):
        sink.shutdown(socket.SHUT_RDWR)


def make_authority(folder: Path) -> Authority:
    """Create the keys and certificates below folder; they are good for one day."""
    ca = _make_ca(folder, "ca")
    return Authority(
        ca=ca.cert,
        server=_sign(folder, ca, "server", "DNS:localhost,IP:127.0.0.1"),
        stranger=_sign(folder, ca, "stranger", "DNS:elsewhere.invalid"),
        expired=_sign(folder, ca, "expired", "DNS:localhost,IP:127.0.0.1", days="-1"),
        client=_sign(folder, ca, "client", "DNS:client.invalid"),
        other=_make_ca(folder, "other").cert,
    )


def _make_ca(folder: Path, name: str) -> Certificate:
    made = Certificate(folder / f"{name}.pem", folder / f"{name}.key")
    _openssl(
        *("req", "-x509", "-days", "1", *_KEY),
        *("-subj", f"/CN=evtools test {name}"),
        *("-addext", "keyUsage=critical,keyCertSign,cRLSign"),
        *("-keyout", str(made.key), "-out", str(made.cert)),
    )
    return made


def _sign(folder: Path, ca: Certificate, name: str, names: str, *, days: str = "1") -> Certificate:
    made = Certificate(folder / f"{name}.pem", folder / f"{name}.key")
    request = folder / f"{name}.csr"
    extensions = folder / f"{name}.ext"
    extensions.write_text(
        f"subjectAltName={names}\n"
        "basicConstraints=CA:FALSE\n"
        "keyUsage=digitalSignature\n"
        "extendedKeyUsage=serverAuth,clientAuth\n"
        "authorityKeyIdentifier=keyid\n"
    )
    _openssl(
        *("req", *_KEY, "-subj", f"/CN={name}"), *("-keyout", str(made.key), "-out", str(request))
    )
    _openssl(
        *("x509", "-req", "-days", days, "-in", str(request)),
        *("-CA", str(ca.cert), "-CAkey", str(ca.key), "-CAcreateserial"),
        *("-extfile", str(extensions), "-out", str(made.cert)),
    )
    made.key.chmod(0o644)
    return made


def _openssl(*args: str) -> None:
    done = subprocess.run([program("openssl"), *args], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
