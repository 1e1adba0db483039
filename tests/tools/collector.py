"""An HTTP server that answers as a test wants, and decodes OTLP with the official classes."""

from __future__ import annotations

import base64
import gzip
import http.server
import json
import socket
import ssl
import threading
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from google.protobuf import json_format
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from servers.ports import HOST, free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from servers.tls import Certificate

TRACES, METRICS = "/v1/traces", "/v1/metrics"
_KINDS = {TRACES: ExportTraceServiceRequest, METRICS: ExportMetricsServiceRequest}
#: Fields of bytes that OTLP has as hex, and proto3's JSON as base64.
_IDS = ("traceId", "spanId", "parentSpanId")


class Request(NamedTuple):
    """A request as it came; the names of headers are in lower case."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def content(self) -> bytes:
        """The body, unpacked."""
        is_packed = self.headers.get("content-encoding") == "gzip"
        return gzip.decompress(self.body) if is_packed else self.body

    def decoded(self) -> Any:
        """Return the message of protobuf; an unknown field or a wrong type raises."""
        return decoded(self.path, json.loads(self.content))


def decoded(path: str, message: dict[str, Any]) -> Any:
    """Return a message of protobuf of what a path takes, from its JSON in OTLP's form."""
    return json_format.ParseDict(_as_proto3(message), _KINDS[path](), ignore_unknown_fields=False)


def _as_proto3(value: Any) -> Any:
    if isinstance(value, list):
        return [_as_proto3(each) for each in value]
    if not isinstance(value, dict):
        return value
    plain = {}
    for key, each in value.items():
        if key in _IDS:
            assert each == each.lower()
            plain[key] = base64.b64encode(bytes.fromhex(each)).decode()
        else:
            # Enums are numbers, integers of 64 bits are texts.
            assert key not in {"kind", "code", "aggregationTemporality"} or isinstance(each, int)
            assert not key.endswith("UnixNano") or isinstance(each, str)
            plain[key] = _as_proto3(each)
    return plain


#: What a collector does with a request: status, headers and body of its answer, or None to end
#: the connection.
Reply = tuple[int, dict[str, str], bytes]


class Collector:
    """Takes requests, on loopback; `answers` are given to the next ones, in order, then 200.

    An answer is a status, a `Reply`, or a function of the request that returns one; None ends the
    connection without an answer.
    """

    def __init__(self, certificate: Certificate | None = None) -> None:
        self.requests: list[Request] = []
        self.taken: list[Request] = []
        self.answers: list[int | Reply | Callable[[Request], int | Reply | None] | None] = []
        self._tls: ssl.SSLContext | None = None
        if certificate is not None:
            self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._tls.load_cert_chain(certificate.cert, certificate.key)
        self._server: _Server | None = None
        # While it is away, nobody else is to have its port.
        self.port = free_port()
        self.come()

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http{'s' if self._tls else ''}://{HOST}:{self.port}"

    def come(self) -> None:
        """Be there, from now on, at the same port as before."""
        self._server = _Server(self, self.port, self._tls)
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def go(self) -> None:
        """Be away: connections are refused, and those that are there end."""
        server, self._server = self._server, None
        if server is not None:
            server.shutdown()
            server.server_close()
            server.hang_up()

    def accepted(self, path: str) -> list[Any]:
        """Return the decoded messages that came to a path and were answered with 200."""
        return [request.decoded() for request in self.taken if request.path == path]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.go()

    def spans(self) -> Iterator[tuple[dict[str, Any], Any]]:
        """Yield the spans that it took, each with the attributes of its resource."""
        for message in self.accepted(TRACES):
            yield from spans_of(message)


def spans_of(message: Any) -> Iterator[tuple[dict[str, Any], Any]]:
    """Yield the spans of a message, each with the attributes of its resource."""
    for resource in message.resource_spans:
        about = attributes(resource.resource)
        for scope in resource.scope_spans:
            for span in scope.spans:
                yield about, span


def attributes(holder: Any) -> dict[str, Any]:
    """Return the attributes of a span, an event, a resource or a point."""
    return {
        each.key: getattr(each.value, each.value.WhichOneof("value")) for each in holder.attributes
    }


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True

    def __init__(self, owner: Collector, port: int, tls: ssl.SSLContext | None) -> None:
        self.owner, self.tls = owner, tls
        self._there: set[socket.socket] = set()
        super().__init__((HOST, port), _Handler)

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, address = super().get_request()
        if self.tls is not None:
            connection = self.tls.wrap_socket(
                connection, server_side=True, do_handshake_on_connect=False
            )
        self._there.add(connection)
        return connection, address

    def hang_up(self) -> None:
        for connection in self._there:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: the other side may hang up."""


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        owner = self.server.owner
        request = Request(self.path, headers, body)
        owner.requests.append(request)
        answer: Any = owner.answers.pop(0) if owner.answers else 200
        if callable(answer):
            answer = answer(request)
        if answer is None:
            self.close_connection = True
            return
        status, extra, content = (answer, {}, b"{}") if isinstance(answer, int) else answer
        if status == http.HTTPStatus.OK:
            owner.taken.append(request)
        self.send_response(status)
        for name, value in extra.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *args: Any) -> None:
        """Say nothing."""
