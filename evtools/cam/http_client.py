"""Requests to a store over HTTP: one connection that is kept, deadlines, bounded answers."""

import http.client
import re
import ssl
import threading
from collections.abc import Mapping
from contextlib import suppress
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import unquote, urlsplit

from evtools.errors import OutputError, UsageError
from evtools.text import hide_credentials, sanitize

#: Bytes of an answer; what is longer is cut there.
ANSWER_MAX: Final = 4 * 1024 * 1024
_REASON_MAX: Final = 200
#: A name of a header, and the longest wait that a server may ask for, in seconds.
_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", re.ASCII)
_ASKED_MAX: Final = 3600.0
_PORTS: Final = {"http": 80, "https": 443}
#: How a server ends a connection that it no longer wants; one that was kept may have ended so.
_ENDED: Final = (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError)


class Unreachable(OutputError):
    """No answer came: whether the request did is not known."""


class Answer(NamedTuple):
    """What a server answered; `is_whole` unless the body was too long.

    The names of headers are in lower case.
    """

    status: int
    reason: str
    headers: Mapping[str, str]
    body: bytes
    is_whole: bool


class HTTPClient:
    """Send requests to the server at `url`, one at a time, whose path they are below.

    A request may take `timeout` seconds from begin to end.  `ca` is a file of certificates to
    trust instead of the system's, `cert` and `key` are a certificate of ours.  `user` and
    `password` are those of the URL.  Raise UsageError for a URL or a file that cannot be used.
    """

    def __init__(
        self, url: str, *, timeout: float = 10.0, ca: str = "", cert: str = "", key: str = ""
    ) -> None:
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            parts, port = urlsplit(""), None
        if parts.scheme not in _PORTS or not parts.hostname:
            raise UsageError("url: it is no URL of HTTP", "write it as in http://host:port")
        if not parts.hostname.isprintable() or " " in parts.hostname:
            raise UsageError("url: the name of its host cannot be one")
        self._host, self._port = parts.hostname, _PORTS[parts.scheme] if port is None else port
        self._path, self.query = parts.path.rstrip("/"), parts.query
        self.user, self.password = unquote(parts.username or ""), unquote(parts.password or "")
        shown = f"[{self._host}]" if ":" in self._host else self._host
        given = "" if port is None else f":{port}"
        #: The URL without user and password.
        self.address = sanitize(f"{parts.scheme}://{shown}{given}{self._path}")
        self._timeout = timeout
        self._tls: ssl.SSLContext | None = None
        if parts.scheme == "https":
            self._tls = _context(ca, cert, key)
        elif ca or cert or key:
            raise UsageError("certificates are for https only", "write the url with https://")
        self._connection: http.client.HTTPConnection | None = None

    def request(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
        *,
        answer_max_bytes: int = ANSWER_MAX,
    ) -> Answer:
        """Send a request, and return the answer, whatever its status; `path` begins with `/`.

        Raise Unreachable if there is none in time.  A connection that the server has ended since
        the request before is made anew, once.
        """
        is_kept = self._connection is not None
        what = (method, self._path + path, body, {**(headers or {})})
        try:
            try:
                return self._send(*what, answer_max_bytes)
            except _ENDED:
                self.close()
                if not is_kept:
                    raise
                return self._send(*what, answer_max_bytes)
        except (OSError, http.client.HTTPException) as error:
            self.close()
            is_unknown = isinstance(error, ssl.SSLCertVerificationError)
            hint = "ca=FILE has the certificates that are trusted" if is_unknown else ""
            raise Unreachable(f"cannot reach {self.address}: {self._why(error)}", hint) from error

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _send(
        self, method: str, path: str, body: bytes, headers: dict[str, str], limit: int
    ) -> Answer:
        # A socket's own timeout begins anew with each byte.
        expired = threading.Event()
        connection = self._connection
        if connection is None:
            if self._tls is None:
                connection = http.client.HTTPConnection(
                    self._host, self._port, timeout=self._timeout
                )
            else:
                connection = http.client.HTTPSConnection(
                    self._host, self._port, timeout=self._timeout, context=self._tls
                )
            connection.connect()
            self._connection = connection
        socket = connection.sock

        def expire() -> None:
            expired.set()
            with suppress(OSError):
                socket.shutdown(2)

        deadline = threading.Timer(self._timeout, expire)
        deadline.daemon = True
        deadline.name = "evtools-deadline"
        deadline.start()
        try:
            connection.request(method, path, body=body, headers=headers)
            response = connection.getresponse()
            content = response.read(limit + 1)
        except (OSError, http.client.HTTPException) as error:
            if expired.is_set():
                raise TimeoutError from error
            raise
        finally:
            deadline.cancel()
        if expired.is_set():
            raise TimeoutError
        is_whole = len(content) <= limit
        if not is_whole or response.will_close:
            self.close()
        answered = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, response.reason, answered, content[:limit], is_whole)

    def _why(self, error: Exception) -> str:
        if isinstance(error, TimeoutError):
            return f"no answer within {self._timeout:g}s"
        if isinstance(error, http.client.RemoteDisconnected):
            return "it ended the connection without an answer"
        if isinstance(error, ssl.SSLCertVerificationError):
            return f"its certificate: {error.verify_message}"
        if isinstance(error, ssl.SSLError) and error.reason == "WRONG_VERSION_NUMBER":
            return "it does not speak TLS"
        if isinstance(error, OSError) and error.strerror:
            return error.strerror
        return one_line(f"{type(error).__name__}: {error}")


def one_line(text: str | bytes) -> str:
    """Return what a server says as one line that is printable, short and without passwords."""
    if isinstance(text, bytes):
        text = text[: 8 * _REASON_MAX].decode(errors="replace")
    words = " ".join(text[: 8 * _REASON_MAX].split())
    words = sanitize(hide_credentials(words))
    return words if len(words) <= _REASON_MAX else f"{words[: _REASON_MAX - 1]}…"


def headers_of(text: str) -> dict[str, str]:
    """Return headers given as NAME=VALUE, separated by commas or, in @FILE, lines.

    Values are percent-encoded, as in OTEL_EXPORTER_OTLP_HEADERS.  Raise UsageError, without any
    value, for those that cannot be sent.
    """
    if text.startswith("@"):
        try:
            text = Path(text[1:]).expanduser().read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or "it is no text in UTF-8"
            raise UsageError(f"headers: cannot read {sanitize(text[1:])}: {why}") from None
    found: dict[str, str] = {}
    for number, entry in enumerate(filter(None, map(str.strip, re.split("[,\n]", text))), 1):
        name, equals, value = (part.strip() for part in entry.partition("="))
        value = unquote(value)
        if not equals or not _TOKEN.fullmatch(name):
            raise UsageError(f"headers: entry {number} is not NAME=VALUE")
        if not value.isprintable() or not value.isascii():
            raise UsageError(f"headers: the value of {name} cannot be sent", "encode it as in %20")
        found[name] = value
    return found


def retry_after(answer: Answer, now: float) -> float:
    """Return the seconds of Retry-After, which may be a date; 0 without one, an hour at most."""
    text = answer.headers.get("retry-after", "")
    try:
        seconds = (
            float(text) if text.strip().isdigit() else parsedate_to_datetime(text).timestamp() - now
        )
    except (ValueError, TypeError, OverflowError):
        return 0.0
    return min(max(seconds, 0.0), _ASKED_MAX)


def _context(ca: str, cert: str, key: str) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=ca or None)
    except (OSError, ssl.SSLError) as error:
        raise UsageError(
            f"ca: cannot read certificates from {sanitize(ca)}: {_why(error)}"
        ) from None
    if cert or key:
        try:
            # With a password given, none is asked for.
            context.load_cert_chain(cert or key, key or None, password="")
        except (OSError, ssl.SSLError) as error:
            where = sanitize(cert or key)
            raise UsageError(f"cert: cannot read {where}, or its key: {_why(error)}") from None
    return context


def _why(error: OSError) -> str:
    if isinstance(error, ssl.SSLError):
        return "there is none in PEM that can be used"
    return error.strerror or str(error)
