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
from functools import partial
from importlib import import_module, metadata
from importlib.util import find_spec
from typing import Final

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
    findings = []
    width = max(map(len, CHECKS))
    for name, check in CHECKS.items():
        try:
            text, ok = check(), True
        except CheckFailed as error:
            text, ok = error.message, False
        except Exception as error:  # noqa: BLE001  (reported)
            text, ok = f"{type(error).__name__}: {str(error) or 'no reason given'}", False
        text = " ".join(text.split())
        findings.append({"name": name, "ok": ok, "text": text})
        if output == "text":
            click.echo(f"{'ok    ' if ok else 'FAILED'}  {name:<{width}}  {sanitize(text)}")
    if output == "json":
        click.echo(json.dumps(findings))
    return 0 if all(finding["ok"] for finding in findings) else 1


def modules() -> list[str]:
    """Return the modules of the standard library on this machine, with those in packages."""

    def below(package: str, folders: Iterable[str]) -> Iterator[str]:
        yield package
        for found in pkgutil.iter_modules(folders):
            if found.name not in _PARTS_LEFT_OUT:
                inside = [f"{where}/{found.name}" for where in folders] if found.ispkg else []
                yield from below(f"{package}.{found.name}", inside)

    specs = filter(None, map(find_spec, sys.stdlib_module_names - LEFT_OUT - {"__main__"}))
    return sorted(
        name
        for spec in specs
        for name in below(spec.name, list(spec.submodule_search_locations or ()))
    )


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
    return sorted(set(names) - broken(names).keys())


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
    import ctypes
    import sqlite3

    from evtools.text import BoundedPattern

    _require(ctypes.CDLL(None).getpid() == os.getpid(), "ctypes cannot call libc")
    for name in ("bz2", "lzma", "zlib"):
        module, text = import_module(name), b"event" * 100
        _require(module.decompress(module.compress(text)) == text, f"{name} is broken")
    with sqlite3.connect(":memory:") as database:
        (one,) = database.execute("select json_extract('[1]', '$[0]')").fetchone()
    _require(one == 1, "SQLite cannot read JSON")
    _require(BoundedPattern("e.*t").found_in("event"), "regex is broken")
    return f"SQLite {sqlite3.sqlite_version}, ctypes, bz2, lzma, zlib, regex"


def _tls() -> str:
    import ssl

    _require(ssl.HAS_TLSv1_3, f"{ssl.OPENSSL_VERSION} has no TLS 1.3")
    count = ssl.create_default_context().cert_store_stats()["x509_ca"]
    paths = ssl.get_default_verify_paths()
    where = paths.cafile or paths.capath or paths.openssl_cafile
    # None is not a fault of the program, and --tls-ca still works.
    return f"{ssl.OPENSSL_VERSION}, {count or 'no'} CA certificates in {where}"


def _transports() -> str:
    from evtools.transport import ConnectionSettings, connect

    inside = version.transports()
    missing = ", ".join(sorted(_PROMISED.difference(inside)))
    _require(not missing, f"not inside: {missing}")
    for scheme in inside:
        options = {"master_name": "check"} if scheme == "sentinel" else {}
        connect(ConnectionSettings(urls=f"{scheme}://localhost/", options=options)).release()
    for module in ("hiredis", "amqp", "redis.sentinel"):
        import_module(module)
    return " ".join(inside)


def _serialisers() -> str:
    import zstandard

    from evtools.wire.serializers import decompress

    packed = zstandard.compress(b"{}")
    _require(decompress(packed, "application/zstd", max_bytes=10) == b"{}", "zstd is broken")
    inside = [name for name in _EXTRAS if frozen.is_frozen() or find_spec(name)]
    for name in ("msgspec.json", *inside):
        import_module(name)
    return " ".join(("json", *inside, "zstd"))


def _screen() -> str:
    from evtools.top.ui.terminal import paint
    from evtools.top.ui.theme import UNICODE

    for module in ("evtools.top.app", "urwid.display.raw"):
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
    wanted = ("kombu", "redis", "hiredis", "click", "urwid", "msgspec")
    missing = ", ".join(name for name in wanted if name not in parts)
    _require(not missing, f"no metadata of {missing}")
    return f"{len(parts)} distributions"


def _processes() -> str:
    import multiprocessing

    path = os.environ.get("LD_LIBRARY_PATH", "")
    inherits = (frozen.folder() or "nowhere") in path
    _require(not inherits, f"children would inherit LD_LIBRARY_PATH={path}")
    methods = ("fork", "spawn", "forkserver")
    for method in methods:
        with multiprocessing.get_context(method).Pool(1) as pool:
            pid = pool.apply_async(os.getpid).get(_PROCESS_TIMEOUT)
        _require(pid != os.getpid(), f"{method} starts no process")
    return " ".join(methods)


def _demo(words: str) -> str:
    # Runs a tool on the simulated cluster; the settings of the user are not what is checked.
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_SETTINGS)}
    done = subprocess.run(  # noqa: S603  (this program)
        frozen.command(*words.split()),
        capture_output=True,
        check=False,
        stdin=subprocess.DEVNULL,
        env=kept | {"EVTOOLS_CONFIG": os.devnull},
        timeout=_PROCESS_TIMEOUT,
    )
    output = (done.stderr or done.stdout).decode(errors="replace")
    _require(done.returncode == 0, f"status {done.returncode}: {output[-400:]}")
    return f"{words}: {len(done.stdout)} bytes"


# fmt: off
CHECKS: Final[Mapping[str, Callable[[], str]]] = {
    "python": _python, "standard library": _standard_library, "native code": _native_code,
    "tls": _tls, "transports": _transports, "serialisers": _serialisers, "screen": _screen,
    "rich": _rich, "metadata": _metadata, "processes": _processes,
    "evdump": partial(_demo, "dump --demo -c 20 -o json"),
    "evtop": partial(_demo, "top --demo -B -n 1"),
    "evcam": partial(_demo, "cam --demo --test -c jsonl:unused"),
}
# fmt: on
