"""Broker URLs: lists of addresses, and what may be shown of them."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, quote, unquote

MASK = "**"

#: Query parameters that hold no secret; of all others the value stays hidden.
_HARMLESS = frozenset(
    {
        *("ssl_cert_reqs", "ssl_ca_certs", "ssl_certfile", "ssl_keyfile"),
        *("ssl_check_hostname", "virtual_host", "heartbeat", "login_method"),
        *("connect_timeout", "credential_provider", "socket_timeout"),
    }
)
#: A user name alone is most likely a password in the wrong place with these.
_USER_RARELY_ALONE = (
    *("redis", "rediss", "redis+socket", "sentinel"),
    *("valkey", "valkeys", "valkey+socket"),
)

_SECRET_NAME = re.compile(r"pass|secret|token|credential|private|auth", re.IGNORECASE)

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://", re.ASCII)
_HOST = re.compile(
    r"(?P<host>\[[0-9A-Fa-f:.%]*\]|[^\s:@/?#\[\];]*)(?::(?P<port>\d{0,5}))?", re.ASCII
)
_REST = re.compile(r"(?P<path>[^?#]*)(?:\?(?P<query>[^#]*))?(?P<fragment>#.*)?")
_PARAMETER = re.compile(r"[a-z_]{1,40}", re.ASCII)


class BadURL(ValueError):
    """An address cannot be read; the text never quotes it."""


@dataclass(frozen=True, slots=True, repr=False)
class Address:
    """One broker address, taken apart; `user` and `password` are still escaped.

    `port` is None where the URL has none; `path` has no leading slash.
    """

    scheme: str
    user: str
    password: str | None
    host: str
    port: int | None
    path: str
    query: str

    @property
    def parameters(self) -> dict[str, str]:
        """The query as a mapping; of a repeated name the last one counts."""
        return dict(parse_qsl(self.query, keep_blank_values=True))

    @property
    def hostname(self) -> str:
        """The host as the resolver takes it."""
        return unquote(self.host.strip("[]"))

    def masked(self) -> str:
        """Return the address without its secrets."""
        return "".join(
            (
                f"{self.scheme}://",
                self._masked_user(),
                self.host,
                "" if self.port is None else f":{self.port}",
                f"/{self.path}" if self.path else "",
                _masked_query(self.query),
            )
        )

    def _masked_user(self) -> str:
        if self.password is not None:
            return f"{self.user}:{MASK}@"
        if not self.user:
            return ""
        return f"{MASK if self.scheme in _USER_RARELY_ALONE else self.user}@"


def parse(url: str) -> Address:
    """Take one address apart; raise BadURL."""
    scheme = _SCHEME.match(url)
    if scheme is None:
        raise BadURL("it has no scheme such as redis:// or amqp://")
    after = url[scheme.end() :]
    authority = re.match(r"[^/?#]*", after)
    assert authority is not None
    user, at, host_port = authority.group().rpartition("@")
    host = _HOST.fullmatch(host_port)
    rest = _REST.fullmatch(after[authority.end() :])
    if host is None or rest is None or "@" in rest.group():
        raise BadURL(
            "host and port cannot be told apart; a password with one of / ? # ; : @"
            " must be percent-encoded"
        )
    name, colon, password = user.partition(":")
    return Address(
        scheme=scheme.group(1),
        user=name,
        password=password if at and colon else None,
        host=host["host"],
        port=_port(host["port"]),
        path=rest["path"].removeprefix("/"),
        query=rest["query"] or "",
    )


def _port(text: str | None) -> int | None:
    if not text:
        return None
    if not 1 <= int(text) <= 65535:  # noqa: PLR2004  (TCP's own numbers)
        raise BadURL("the port is not between 1 and 65535")
    return int(text)


def split(urls: str) -> list[str]:
    """Split a `;` list into whole URLs.

    Entries that are mere hosts take everything else from the first one, as
    in `sentinel://:secret@a:26379;b:26379/0`.  Raise BadURL.
    """
    first, *others = [part.strip() for part in urls.split(";")]
    if not others:
        return [first]
    parse(first)
    return [first, *(_complete(first, part) for part in others if part)]


def _complete(first: str, entry: str) -> str:
    """Return `entry` as a URL of its own, with the parts of `first` it lacks."""
    if "://" in entry:
        return entry
    host, slash, path = entry.partition("/")
    if _HOST.fullmatch(host) is None:
        raise BadURL("a ; in a user name, password or path must be written as %3B")
    scheme, _, after = first.partition("://")
    authority = re.split(r"[/?#]", after, maxsplit=1)[0]
    user, at, _ = authority.rpartition("@")
    tail = f"{slash}{path}" if slash else after[len(authority) :]
    return f"{scheme}://{user}{at}{host}{tail}"


def with_vhost(url: str, vhost: str) -> str:
    """Return the same address with another virtual host or database, escaped."""
    address = parse(url)
    _, _, after = url.partition("://")
    authority = re.split(r"[/?#]", after, maxsplit=1)[0]
    # It would win over the path.
    kept = [part for part in address.query.split("&") if not _names_vhost(part)]
    path = vhost
    if address.scheme.endswith("+socket"):
        # There the path is the socket.
        path = address.path
        kept.append(f"virtual_host={vhost}")
    query = "&".join(filter(None, kept))
    return f"{address.scheme}://{authority}/{path}" + (f"?{query}" if query else "")


def with_password(urls: str, password: str) -> str:
    """Return the same addresses with another password, which is not escaped yet."""
    return ";".join(_with_password(url, quote(password, safe="")) for url in split(urls))


def _with_password(url: str, escaped: str) -> str:
    scheme, _, after = url.partition("://")
    authority = re.split(r"[/?#]", after, maxsplit=1)[0]
    host = authority.rpartition("@")[2]
    user = parse(url).user
    return f"{scheme}://{user}:{escaped}@{host}{after[len(authority) :]}"


def _names_vhost(part: str) -> bool:
    return part.partition("=")[0] == "virtual_host"


def mask(urls: str) -> str:
    """Return what may be shown of a URL or a `;` list of URLs.

    What cannot be read is hidden altogether, save for its scheme.
    """
    try:
        return ";".join(parse(url).masked() for url in split(urls))
    except BadURL:
        scheme = _SCHEME.match(urls)
        return f"{scheme.group()}{MASK}" if scheme else MASK


def secrets(urls: str) -> set[str]:
    """Return all texts in `urls` that must not be shown, escaped and plain."""
    try:
        addresses = [parse(url) for url in split(urls)]
    except BadURL:
        scheme = _SCHEME.match(urls)
        return {urls[scheme.end() if scheme else 0 :]}
    found: set[str] = set()
    for address in addresses:
        found.add(address.password or "")
        if address.scheme in _USER_RARELY_ALONE and address.password is None:
            found.add(address.user)
        found.update(value for name, value in address.parameters.items() if name not in _HARMLESS)
    return {text for secret in found for text in (secret, unquote(secret)) if text}


def is_secret(name: str) -> bool:
    """Return whether the value of an option of this name must not be shown."""
    return _SECRET_NAME.search(name) is not None


def mask_options(value: Any, name: str = "") -> Any:
    """Return transport options for display: secrets masked at every depth."""
    if isinstance(value, Mapping):
        return {key: mask_options(item, str(key)) for key, item in value.items()}
    return MASK if is_secret(name) and value else value


def _masked_query(query: str) -> str:
    if not query:
        return ""
    return "?" + "&".join(_masked_parameter(part) for part in query.split("&"))


def _masked_parameter(part: str) -> str:
    name, equals, _ = part.partition("=")
    if not equals or _PARAMETER.fullmatch(name) is None:
        return MASK
    return part if name in _HARMLESS else f"{name}={MASK}"
