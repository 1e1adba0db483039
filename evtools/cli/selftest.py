"""evtools selftest: is everything here, and working; the library carried for cameras."""

import contextlib
import io
import json
import os
import pkgutil
import platform
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib import import_module, metadata
from importlib.util import find_spec
from typing import Any, Final

import click

from evtools.cli import frozen, version
from evtools.cli.tools import CONTEXT
from evtools.errors import EvtoolsError
from evtools.text import sanitize

#: The schemes that every standalone program must support.
_PROMISED: Final = frozenset(
    ("amqp", "amqps", "redis", "rediss", "redis+socket", "valkey", "sentinel", "memory")
)
#: What it must contain in addition to what `pip install evtools` brings.
_EXTRAS: Final = ("msgpack", "yaml")
#: Prefixes of variables that are settings; the settings file is named apart.
_SETTINGS: Final = ("EVTOOLS_", "EVTOP_", "EVDUMP_", "EVCAM_", "CELERY_", "BROKER_URL")
#: The timeout of each process, in seconds; the machine may be busy.
_PROCESS_TIMEOUT: Final = 120.0
#: Not for cameras: tests, windows, installers, tools for old code, and modules that do
#: something when they are imported.  readline is under the GPL.
LEFT_OUT: Final = frozenset((
    "test", "idlelib", "tkinter", "turtle", "turtledemo", "lib2to3", "distutils", "ensurepip",
    "venv", "readline", "_tkinter", "_gdbm", "antigravity", "this", "__phello__",
))  # fmt: skip
#: The last one needs a library of the machine, and is for Python's own prompt.
_PARTS_LEFT_OUT: Final = frozenset(("__main__", "test", "tests", "idle_test", "_minimal_curses"))


class CheckFailed(EvtoolsError):
    """A part is missing or does not work."""


@click.command("selftest", context_settings={**CONTEXT})
@click.option(
    "-o", "--output", type=click.Choice(["text", "json"]), default="text", metavar="FORMAT",
    help="text or json.  [text]",
)  # fmt: skip
def selftest(output: str) -> int:
    """Check this installation: that everything it promises is there and works.

    It needs no broker and changes nothing.  The exit status is 1 if a check fails.
    """
    found = []
    width = max(map(len, CHECKS))
    for finding in findings():
        found.append(finding)
        if output == "text":
            mark = "ok    " if finding["ok"] else "FAILED"
            click.echo(f"{mark}  {finding['name']:<{width}}  {sanitize(finding['text'])}")
    if output == "json":
        click.echo(json.dumps(found))
    return 0 if all(finding["ok"] for finding in found) else 1


def findings() -> Iterator[dict[str, Any]]:
    """Run the checks; yield name, ok and text of each."""
    for name, check in CHECKS.items():
        try:
            text, ok = check(), True
        except Exception as error:  # noqa: BLE001  (reported)
            text, ok = str(error) or "no reason given", False
            if not isinstance(error, CheckFailed):
                text = f"{type(error).__name__}: {text}"
        yield {"name": name, "ok": ok, "text": " ".join(text.split())}


# --- the standard library -----------------------------------------------------------


def modules() -> list[str]:
    """Return the modules of the standard library on this machine, with those in packages."""
    return sorted(_walk(sys.stdlib_module_names - LEFT_OUT))


def _walk(names: Iterable[str]) -> Iterator[str]:
    for name in names:
        spec = find_spec(name) if name != "__main__" else None
        if spec is None:
            continue
        yield name
        yield from _below(name, spec.submodule_search_locations or ())


def _below(package: str, folders: Iterable[str]) -> Iterator[str]:
    for found in pkgutil.iter_modules(folders):
        if found.name in _PARTS_LEFT_OUT:
            continue
        name = f"{package}.{found.name}"
        yield name
        if found.ispkg:
            yield from _below(name, [f"{where}/{found.name}" for where in folders])


def broken(names: Iterable[str]) -> dict[str, str]:
    """Import the modules; return those that cannot be, with the reason."""
    failed = {}
    # Some print, and some warn that they are deprecated.
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        for name in names:
            try:
                import_module(name)
            except Exception as error:  # noqa: BLE001  (reported)
                failed[name] = f"{type(error).__name__}: {error}"
    return failed


def usable() -> list[str]:
    """Return the modules that can be imported on this machine."""
    names = modules()
    return sorted(set(names) - set(broken(names)))


# --- the checks ----------------------------------------------------------------------


def _require(condition: object, complaint: str) -> None:
    if not condition:
        raise CheckFailed(complaint)


def _python() -> str:
    build = frozen.build()
    form = f"standalone, {build['form']}" if build else "not standalone"
    return f"{platform.python_version()}, {form}, {version.libc()}"


def _standard_library() -> str:
    names = frozen.build().get("library") or usable()
    failed = broken(names)
    _require(not failed, "; ".join(f"{name}: {why}" for name, why in failed.items()))
    return f"{len(names)} modules"


def _native_code() -> str:
    import bz2
    import ctypes
    import lzma
    import sqlite3
    import zlib

    from evtools.text import BoundedPattern

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
    import ssl

    _require(ssl.HAS_TLSv1_3, f"{ssl.OPENSSL_VERSION} has no TLS 1.3")
    context = ssl.create_default_context()
    count = context.cert_store_stats()["x509_ca"]
    paths = ssl.get_default_verify_paths()
    where = paths.cafile or paths.capath or paths.openssl_cafile
    # Not a fault of the program, and --tls-ca still works.
    seen = f"{count} CA certificates in {where}" if count else f"no CA certificates in {where}"
    return f"{ssl.OPENSSL_VERSION}, {seen}"


def _transports() -> str:
    from evtools.transport import ConnectionSettings, connect

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
    import zstandard

    from evtools.wire.serializers import decompress

    packed = zstandard.compress(b"{}")
    unpacked = decompress(packed, "application/zstd", max_bytes=10)
    _require(unpacked == b"{}", "zstd is broken")
    inside = [name for name in _EXTRAS if frozen.is_frozen() or find_spec(name)]
    for name in ("msgspec.json", *inside):
        import_module(name)
    return " ".join(("json", *inside, "zstd"))


def _screen() -> str:
    from evtools.top.ui.terminal import paint
    from evtools.top.ui.theme import UNICODE

    for module in ("evtools.top.app", "evtools.top.ui.terminal", "urwid.display.raw"):
        import_module(module)
    canvas = paint([[("head", "evtop ⣿")]], (10, 1), UNICODE)
    _require("evtop ⣿".encode() in canvas.text[0], "urwid draws something different")
    return f"urwid {metadata.version('urwid')}"


def _rich() -> str:
    from rich.console import Console
    from rich.progress import Progress
    from rich.text import Text

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
    import multiprocessing

    inside = frozen.folder() or "nowhere"
    path = os.environ.get("LD_LIBRARY_PATH", "")
    _require(inside not in path, f"children would inherit LD_LIBRARY_PATH={path}")
    methods = ("fork", "spawn", "forkserver")
    for method in methods:
        with multiprocessing.get_context(method).Pool(1) as pool:
            pid = pool.apply_async(os.getpid).get(_PROCESS_TIMEOUT)
        _require(pid != os.getpid(), f"{method} starts no process")
    return " ".join(methods)


def _demo(*arguments: str) -> Callable[[], str]:
    """Return a check that runs one of the tools on the simulated cluster."""

    def check() -> str:
        done = subprocess.run(  # noqa: S603  (this program)
            frozen.command(*arguments),
            capture_output=True,
            check=False,
            stdin=subprocess.DEVNULL,
            env=_plain_environment(),
            timeout=_PROCESS_TIMEOUT,
        )
        output = (done.stderr or done.stdout).decode(errors="replace")
        _require(done.returncode == 0, f"status {done.returncode}: {output[-400:]}")
        return f"{' '.join(arguments)}: {len(done.stdout)} bytes"

    return check


def _plain_environment() -> dict[str, str]:
    # The settings of the user are not what is checked.
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
