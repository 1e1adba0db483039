"""The checks of `evtools selftest`: each returns what it found, or raises."""

import os
import platform
import subprocess
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from importlib import import_module, metadata
from importlib.util import find_spec
from typing import Any, Final

from evtools.cli import frozen, frozen_library, version
from evtools.errors import EvtoolsError

#: What every standalone program must reach.
_PROMISED: Final = frozenset(
    ("amqp", "amqps", "redis", "rediss", "redis+socket", "valkey", "sentinel", "memory")
)
#: What it must contain besides what `pip install evtools` brings.
_EXTRAS: Final = ("msgpack", "yaml")
#: How variables begin that are settings; the file of settings is named apart.
_SETTINGS: Final = (*("EVTOOLS_", "EVTOP_", "EVDUMP_", "EVCAM_"), *("CELERY_", "BROKER_URL"))
#: How long a process of ours may take, in seconds; the machine may be busy.
_PATIENCE: Final = 120.0


class CheckFailed(EvtoolsError):
    """Something that ought to be inside is not, or does not work."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What came of a check."""

    name: str
    ok: bool
    text: str

    def as_dict(self) -> dict[str, Any]:
        """Return the finding for programs."""
        return asdict(self)


def findings() -> Iterator[Finding]:
    """Run the checks one after the other."""
    for name, check in CHECKS.items():
        try:
            yield Finding(name, ok=True, text=check())
        except Exception as error:  # noqa: BLE001  (whatever it is, it is the finding)
            reason = str(error) or "no reason given"
            if not isinstance(error, CheckFailed):
                reason = f"{type(error).__name__}: {reason}"
            yield Finding(name, ok=False, text=" ".join(reason.split()))


def _require(condition: object, complaint: str) -> None:
    if not condition:
        raise CheckFailed(complaint)


def _python() -> str:
    build = frozen.build()
    form = f"standalone, {build['form']}" if build else "not standalone"
    return f"{platform.python_version()}, {form}, {version.libc()}"


def _standard_library() -> str:
    names = frozen.build().get("library") or frozen_library.usable()
    failed = frozen_library.broken(names)
    _require(not failed, "; ".join(f"{name}: {why}" for name, why in failed.items()))
    return f"{len(names)} modules"


def _native_code() -> str:
    import bz2  # noqa: PLC0415  (a check imports what it is about)
    import ctypes  # noqa: PLC0415  (ditto)
    import lzma  # noqa: PLC0415  (ditto)
    import sqlite3  # noqa: PLC0415  (ditto)
    import zlib  # noqa: PLC0415  (ditto)

    from evtools.text import BoundedPattern  # noqa: PLC0415  (ditto)

    _require(ctypes.CDLL(None).getpid() == os.getpid(), "ctypes cannot call libc")
    for module in (bz2, lzma, zlib):
        packed = module.compress(b"event" * 100)
        _require(module.decompress(packed) == b"event" * 100, f"{module.__name__} is broken")
    with sqlite3.connect(":memory:") as database:
        (one,) = database.execute("select json_extract('[1]', '$[0]')").fetchone()
    _require(one == 1, "SQLite cannot read JSON")
    _require(BoundedPattern("e.*t").found_in("event"), "regex is broken")
    return f"SQLite {sqlite3.sqlite_version}, ctypes, bz2, lzma, zlib, regex"


def _tls() -> str:
    import ssl  # noqa: PLC0415  (ditto)

    _require(ssl.HAS_TLSv1_3, f"{ssl.OPENSSL_VERSION} has no TLS 1.3")
    context = ssl.create_default_context()
    count = context.cert_store_stats()["x509_ca"]
    paths = ssl.get_default_verify_paths()
    where = paths.cafile or paths.capath or paths.openssl_cafile
    # Not our fault, and --tls-ca still works.
    seen = f"{count} authorities in {where}" if count else f"no authorities in {where}"
    return f"{ssl.OPENSSL_VERSION}, {seen}"


def _transports() -> str:
    from evtools.transport import ConnectionSettings, connect  # noqa: PLC0415  (ditto)

    inside = version.transports()
    missing = _PROMISED.difference(inside)
    _require(not missing, f"not inside: {', '.join(sorted(missing))}")
    for scheme in inside:
        options = {"master_name": "check"} if scheme == "sentinel" else {}
        settings = ConnectionSettings(urls=f"{scheme}://localhost/", options=options)
        connect(settings).release()
    for module in ("hiredis", "amqp", "redis.sentinel"):
        import_module(module)
    return " ".join(inside)


def _serialisers() -> str:
    import zstandard  # noqa: PLC0415  (a check imports what it is about)

    from evtools.wire.compression import decompress  # noqa: PLC0415  (ditto)

    packed = zstandard.compress(b"{}")
    unpacked = decompress(packed, "application/zstd", max_bytes=10)
    _require(unpacked == b"{}", "zstd is broken")
    inside = [name for name in _EXTRAS if frozen.is_frozen() or find_spec(name)]
    for name in ("msgspec.json", *inside):
        import_module(name)
    return " ".join(("json", *inside, "zstd"))


def _screen() -> str:
    from evtools.top.glyphs import glyphs  # noqa: PLC0415  (ditto)
    from evtools.top.widgets.canvas import painted  # noqa: PLC0415  (ditto)

    for module in ("evtools.top.app", "evtools.top.widgets.display", "urwid.display.raw"):
        import_module(module)
    canvas = painted([[("head", "evtop ⣿")]], (10, 1), glyphs(ascii_only=False))
    _require("evtop ⣿".encode() in canvas.text[0], "urwid draws something else")
    return f"urwid {metadata.version('urwid')}"


def _rich() -> str:
    import io  # noqa: PLC0415  (ditto)

    from rich.console import Console  # noqa: PLC0415  (ditto)
    from rich.progress import Progress  # noqa: PLC0415  (ditto)
    from rich.text import Text  # noqa: PLC0415  (ditto)

    console = Console(file=io.StringIO(), force_terminal=True, width=40)
    console.print(Text("宽 é", style="red"))
    with Progress(console=console) as progress:
        progress.update(progress.add_task("check", total=1), completed=1)
    return f"rich {metadata.version('rich')}"


def _metadata() -> str:
    parts = version.parts()
    missing = [
        name
        for name in ("kombu", "redis", "hiredis", "click", "urwid", "msgspec")
        if name not in parts
    ]
    _require(not missing, f"no metadata of {', '.join(missing)}")
    return f"{len(parts)} distributions"


def _processes() -> str:
    import multiprocessing  # noqa: PLC0415  (ditto)

    inside = str(frozen.folder() or "nowhere")
    path = os.environ.get("LD_LIBRARY_PATH", "")
    _require(inside not in path, f"children would inherit LD_LIBRARY_PATH={path}")
    methods = ("fork", "spawn", "forkserver")
    for method in methods:
        with multiprocessing.get_context(method).Pool(1) as pool:
            pid = pool.apply_async(os.getpid).get(_PATIENCE)
        _require(pid != os.getpid(), f"{method} starts no process")
    return " ".join(methods)


def _demo(*arguments: str) -> Callable[[], str]:
    """Return a check that runs one of the tools on the simulated cluster."""

    def check() -> str:
        done = subprocess.run(  # noqa: S603  (ourselves)
            frozen.command(*arguments),
            capture_output=True,
            check=False,
            stdin=subprocess.DEVNULL,
            env=_plain_environment(),
            timeout=_PATIENCE,
        )
        told = (done.stderr or done.stdout).decode(errors="replace")
        _require(done.returncode == 0, f"status {done.returncode}: {told[-400:]}")
        return f"{' '.join(arguments)}: {len(done.stdout)} bytes"

    return check


def _plain_environment() -> dict[str, str]:
    """Return ours without settings of the user: they are not what is checked."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_SETTINGS)}
    return kept | {"EVTOOLS_CONFIG": os.devnull}


CHECKS: Final[Mapping[str, Callable[[], str]]] = {
    "python": _python,
    "standard library": _standard_library,
    "native code": _native_code,
    "tls": _tls,
    "transports": _transports,
    "serialisers": _serialisers,
    "screen": _screen,
    "rich": _rich,
    "metadata": _metadata,
    "processes": _processes,
    "evdump": _demo("dump", "--demo", "-c", "20", "-o", "json"),
    "evtop": _demo("top", "--demo", "-B", "-n", "1"),
    "evcam": _demo("cam", "--demo", "--test", "-c", "jsonl:unused"),
}
