"""Everything that decides how a broker is reached and listened to."""

import logging
import math
import ssl
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeAlias

from evtools.errors import EvtoolsError, ImproperlyConfigured, UsageError
from evtools.transport import url

_log = logging.getLogger(__name__)

#: Celery's own default.
DEFAULT_URL: Final = "amqp://guest@localhost//"
DEFAULT_SOURCE: Final = "Celery's default"

Verify: TypeAlias = Literal["required", "optional", "none"]
SERIALISERS: Final = ("json", "msgpack", "yaml", "pickle")
LOGIN_METHODS: Final = ("PLAIN", "AMQPLAIN", "EXTERNAL", "GSSAPI")
VERIFY: Final = ("required", "optional", "none")

_MEBIBYTE = 1024 * 1024
_NAME_MAX_BYTES = 255
#: RabbitMQ counts in milliseconds of 32 bits.
_QUEUE_SECONDS_MAX = 2**32 / 1000 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class TLS:
    """How to encrypt and whom to trust; paths are of PEM files.

    `enabled` None leaves it to the URL's scheme (rediss, amqps), and the other Nones to the URL's
    parameters, then to the safe default.  `server_name` is asked for, and the certificate must be
    for it, in place of the host; what follows it comes from broker_use_ssl and URLs only.
    """

    enabled: bool | None = None
    ca: str | None = None
    cert: str | None = None
    key: str | None = None
    verify: Verify | None = None
    check_hostname: bool | None = None
    server_name: str | None = None
    ca_folder: str | None = None
    ca_data: str | bytes | None = None
    key_password: str | None = field(default=None, repr=False)
    ciphers: str | None = None
    min_version: ssl.TLSVersion | None = None
    max_version: ssl.TLSVersion | None = None
    more_flags: int = 0
    fewer_flags: int = 0

    def __post_init__(self) -> None:
        if self.verify not in (*VERIFY, None):
            raise UsageError(f"--tls-verify: {self.verify!r} is not one of {', '.join(VERIFY)}")
        if self.server_name:
            is_host = False
            with suppress(UnicodeError):
                is_host = bool(self.server_name.encode("idna")) and self.server_name.isprintable()
            if not is_host:
                raise UsageError(f"--tls-server-name: {self.server_name!r} is no name of a host")
        if self.key and not self.cert:
            raise ImproperlyConfigured(
                "--tls-key needs --tls-cert", "give the certificate of that key"
            )


class Renewal:
    """The broker's address, as several threads read it again; `read` raises EvtoolsError.

    Passwords are changed and tokens expire while a tool runs: before a connection it is read if
    `due`, and when the broker refuses what was read.
    """

    def __init__(self, urls: str, read: Callable[[], str], *, due: bool) -> None:
        self.urls = urls
        self._read = read
        #: Whether `urls` will not do even for the first time.
        self._must = due
        self.due = due
        self._lock = threading.Lock()

    def renew(self) -> bool:
        """Read it now; return whether it is another one.  All stays as it was if that fails."""
        with self._lock:
            urls = self._read()
            _check(urls)
            before, self.urls = self.urls, urls
            self._must = self.due = False
            return urls != before

    def refresh(self) -> None:
        """Read it if it is due; what was read before will do if that fails."""
        if self.due:
            try:
                self.renew()
            except EvtoolsError as error:
                if self._must:
                    raise
                _log.warning("the broker URL stays as it was: %s", error.message)


@dataclass(frozen=True, kw_only=True, repr=False)
class ConnectionSettings:
    """How to reach the broker and what to listen to.

    `urls` may be a `;` list: brokers to fail over to, or Sentinels.  Where there is a `renewal`,
    it knows better.  `source_of_url` says where the user put it, for error texts.  `options` are
    Celery's broker_transport_options; those named in `may_ignore` may be for another transport, as
    in the settings of an application.  Seconds are floats; a `heartbeat` of 0 is off;
    `event_queue_ttl` and `event_queue_expires` may be None (RabbitMQ then keeps messages, or the
    queue, for ever).  `event_queue` names a queue that several share, so that each event reaches
    one of them; it is durable and not exclusive.  If it `acknowledges`, RabbitMQ keeps what comes
    through that queue until `acknowledge` is called.  `read_only` publishes nothing at all,
    whatever else is set.  Raise UsageError for a value that cannot work and ImproperlyConfigured
    for values that contradict each other.
    """

    urls: str = DEFAULT_URL
    source_of_url: str = DEFAULT_SOURCE
    #: What its events are marked with, "" where there is but one.
    cluster: str = ""
    renewal: Renewal | None = field(default=None, compare=False)
    options: Mapping[str, Any] = field(default_factory=dict)
    may_ignore: frozenset[str] = frozenset()
    tls: TLS = field(default_factory=TLS)
    login_method: str = ""
    connect_timeout: float = 4.0
    heartbeat: float = 10.0
    event_exchange: str = "celeryev"
    event_queue: str = ""
    acknowledges: bool = False
    event_queue_prefix: str = "celeryev"
    event_queue_ttl: float | None = 5.0
    event_queue_expires: float | None = 60.0
    event_queue_exclusive: bool = True
    event_queue_durable: bool = False
    routing_keys: tuple[str, ...] = ("#",)
    control_exchange: str = "celery"
    #: What the keys of RedBeat begin with.
    redbeat_key_prefix: str = "redbeat:"
    accept: tuple[str, ...] = ("json", "msgpack", "yaml")
    buffer_bytes: int = 256 * _MEBIBYTE
    reconnect: bool = True
    wakeup: bool = True
    enable_events: bool = False
    read_only: bool = False
    #: Under this name the broker's administrator sees us.
    tool: str = "evtools"

    def __post_init__(self) -> None:
        if not self.urls.strip():
            raise UsageError(
                f"the broker URL is empty ({self.source_of_url})",
                "give one as in: -b redis://localhost:6379/0",
            )
        _check(self.current, f"it comes from {self.source_of_url}")
        for option, name, is_good, wanted in _RULES:
            value = getattr(self, name)
            if not is_good(value):
                raise UsageError(f"{option}: {value!r} is not {wanted}")
        # fmt: off
        for is_wrong, message, hint in (
            (self.event_queue_exclusive and self.event_queue_durable,
             "--event-queue-exclusive and --event-queue-durable exclude each other",
             "with --event-queue-durable also give --no-event-queue-exclusive"),
            (self.read_only and self.enable_events,
             "--read-only and --enable-events exclude each other",
             "read-only mode publishes nothing, and switching events on means to publish"),
            (self.event_queue and not (self.event_queue_ttl or self.event_queue_expires),
             "--queue needs --event-queue-ttl or --event-queue-expires",
             "or it could be a queue of tasks, and these would be lost"),
        ):
            if is_wrong:
                raise ImproperlyConfigured(message, hint)
        # fmt: on

    def __repr__(self) -> str:
        return f"ConnectionSettings(urls={self.masked()!r}, ...)"

    def masked(self) -> str:
        """Return the broker's URL without password."""
        return url.mask(self.current)

    def addresses(self) -> list[str]:
        """Return the URLs in `current`, each complete."""
        return url.split(self.current)

    @property
    def current(self) -> str:
        """The broker's address as it was read last."""
        return self.renewal.urls if self.renewal else self.urls

    def refresh(self) -> None:
        """Be ready to connect; raise EvtoolsError where there is no address yet."""
        if self.renewal:
            self.renewal.refresh()

    def renew(self) -> bool:
        """Return whether there is another address after a refusal; raise EvtoolsError."""
        return self.renewal is not None and self.renewal.renew()


def _check(urls: str, hint: str = "") -> None:
    try:
        for address in url.split(urls):
            url.parse(address)
    except url.BadURL as error:
        raise UsageError(f"cannot read the broker URL {url.mask(urls)}: {error}", hint) from None


def _is_seconds(value: Any, low: float = 0.0, high: float = math.inf) -> bool:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return is_number and low <= value < high


def _is_name(value: Any) -> bool:
    if not isinstance(value, str) or not value.isprintable():
        return False
    return 0 < len(value.encode("utf-8", "surrogatepass")) <= _NAME_MAX_BYTES


# fmt: off
#: Option, field, test, and the value that was expected.
_RULES: Final[tuple[tuple[str, str, Callable[[Any], bool], str], ...]] = (
    ("--connect-timeout", "connect_timeout", lambda v: _is_seconds(v) and v > 0,
     "a time above zero"),
    ("--heartbeat", "heartbeat", _is_seconds, "a number of seconds (0: off)"),
    ("--event-exchange", "event_exchange", _is_name, "the name of an exchange"),
    ("--event-queue-prefix", "event_queue_prefix", _is_name, "a queue name"),
    ("--queue", "event_queue", lambda v: v == "" or _is_name(v), "a queue name"),
    ("--event-queue-ttl", "event_queue_ttl",
     lambda v: v is None or _is_seconds(v, high=_QUEUE_SECONDS_MAX), "a number of seconds"),
    # RabbitMQ refuses 0, and less than a millisecond cannot be sent.
    ("--event-queue-expires", "event_queue_expires",
     lambda v: v is None or _is_seconds(v, 0.001, _QUEUE_SECONDS_MAX),
     "a number of seconds above zero"),
    ("--event-routing-key", "routing_keys", lambda v: bool(v) and all(map(_is_name, v)),
     "a routing key"),
    ("--control-exchange", "control_exchange", _is_name, "the name of an exchange"),
    ("--redbeat-key-prefix", "redbeat_key_prefix", _is_name, "the beginning of keys"),
    ("--accept", "accept", lambda v: bool(v) and set(v) <= set(SERIALISERS),
     f"one of {', '.join(SERIALISERS)}"),
    ("--buffer-size", "buffer_bytes", lambda v: isinstance(v, int) and v >= _MEBIBYTE,
     "a size of 1M or more"),
    ("--login-method", "login_method", lambda v: v in ("", *LOGIN_METHODS),
     f"one of {', '.join(LOGIN_METHODS)}"),
)
# fmt: on
