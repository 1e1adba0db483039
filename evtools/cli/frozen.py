"""What a frozen program puts right before it begins."""

import os
import sys
from collections.abc import Iterable, MutableMapping, Sequence
from pathlib import Path
from typing import Any, Final

#: Where distributions keep the authorities they trust: Debian, Arch and
#: Alpine; RHEL and Fedora, new and old; SUSE; BSD.
CA_BUNDLES: Final = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)

#: How multiprocessing starts its own processes, with `-c` before it.
_SERVANTS: Final = (
    "from multiprocessing.resource_tracker import main",
    "from multiprocessing.forkserver import main",
)


def is_frozen() -> bool:
    """Return whether this is the standalone program."""
    return bool(getattr(sys, "frozen", False))


def folder() -> Path | None:
    """Return the folder that holds what is inside of the standalone program."""
    found = getattr(sys, "_MEIPASS", None)
    return Path(found) if found else None


def prepare() -> None:
    """Put right what freezing changes; without effect where nothing is frozen.

    Does not return in a process that multiprocessing has started: such a one
    does its work here, and ends.
    """
    if not is_frozen():
        return
    restore_library_path(os.environ)
    name_authorities(os.environ, CA_BUNDLES)
    serve(sys.argv)


def restore_library_path(environ: MutableMapping[str, str]) -> None:
    """Put back the library path of our caller.

    The linker of this process has read ours already.  A program that a camera
    starts must not find our libraries in place of its own.
    """
    before = environ.pop("LD_LIBRARY_PATH_ORIG", None)
    environ.pop("LD_LIBRARY_PATH", None)
    if before is not None:
        environ["LD_LIBRARY_PATH"] = before


def name_authorities(environ: MutableMapping[str, str], bundles: Iterable[str]) -> None:
    """Point OpenSSL at the first of the bundles that exists.

    Our OpenSSL was built elsewhere and knows one distribution's paths at most.
    Whoever has set one of OpenSSL's own variables is obeyed.
    """
    if environ.get("SSL_CERT_FILE") or environ.get("SSL_CERT_DIR"):
        return
    for bundle in bundles:
        if os.access(bundle, os.R_OK):
            environ["SSL_CERT_FILE"] = bundle
            return


def serve(argv: Sequence[str]) -> None:
    """Be the process that multiprocessing wanted to start, if it started us.

    It runs `sys.executable` with arguments for an interpreter; ours is this
    program.
    """
    if argv[1:2] == ["--multiprocessing-fork"]:
        from multiprocessing import spawn  # noqa: PLC0415  (start-up time)

        spawn.freeze_support()
    elif argv[-2:-1] == ["-c"] and argv[-1].startswith(_SERVANTS):
        exec(argv[-1], {})  # noqa: S102  (the standard library's own words)
        raise SystemExit


def command(*arguments: str) -> list[str]:
    """Return what starts this program again with `arguments`."""
    if is_frozen():
        return [sys.executable, *arguments]
    return [sys.executable, "-m", "evtools", *arguments]


def build() -> dict[str, Any]:
    """Return what is known of how the standalone program was built, or nothing.

    `form` is "single file" or "folder", `commit` and `date` say of what,
    `bootloader` is "own" in a release, `library` lists the modules of the
    standard library that are inside.
    """
    inside = folder()
    if inside is None:
        return {}
    import json  # noqa: PLC0415  (start-up time)

    found: dict[str, Any] = json.loads((inside / "build.json").read_bytes())
    return found
