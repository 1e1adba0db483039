"""What --version tells."""

import json
import platform
from importlib import metadata
from typing import Any, Final

from evtools import __version__

#: The parts whose versions support asks for.
_PARTS: Final = (
    *("kombu", "amqp", "redis", "hiredis", "click", "rich", "urwid", "msgspec"),
    *("celery", "msgpack", "PyYAML", "zstandard"),
)
#: Distribution: the URL schemes it serves.
TRANSPORTS: Final = {
    "amqp": ("amqp", "amqps", "pyamqp", "librabbitmq"),
    "redis": ("redis", "rediss", "redis+socket", "sentinel"),
    "kombu": ("memory",),
    "qpid-tools": ("qpid",),
    "google-cloud-pubsub": ("gcpubsub",),
}


def line(tool: str) -> str:
    """Return name and version."""
    return f"{tool} {__version__}"


def report(tool: str, *, as_json: bool) -> str:
    """Return the versions of all that matters, for people or for programs."""
    facts = _facts(tool)
    if as_json:
        return json.dumps(facts)
    lines = [line(tool), *(f"{name:<11} {facts[name]}" for name in ("python", "libc"))]
    lines += [f"{name:<11} {version}" for name, version in facts["parts"].items()]
    lines.append(f"{'transports':<11} {' '.join(facts['transports'])}")
    return "\n".join(lines)


def _facts(tool: str) -> dict[str, Any]:
    parts = {name: version for name in _PARTS if (version := _version(name))}
    return {
        "tool": tool,
        "version": __version__,
        "python": f"{platform.python_version()} ({platform.python_implementation()})",
        "libc": " ".join(platform.libc_ver()).strip() or "unknown",
        "parts": parts,
        "transports": [
            scheme
            for distribution, schemes in TRANSPORTS.items()
            if _version(distribution)
            for scheme in schemes
        ],
    }


def _version(distribution: str) -> str | None:
    # Not by import: --version answers at once.
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None
