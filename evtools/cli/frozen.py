"""The standalone program: what has to be corrected at its start, and how it was built."""

import os
import sys
from collections.abc import Sequence
from typing import Any, Final

#: Where distributions keep their CA certificates: Debian, Arch and Alpine; RHEL and
#: Fedora, new and old; SUSE; BSD.
CA_BUNDLES: Final = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)

#: How multiprocessing starts its own processes, with `-c` before it.
_HELPERS: Final = (
    "from multiprocessing.resource_tracker import main",
    "from multiprocessing.forkserver import main",
)


def is_frozen() -> bool:
    """Return whether this is the standalone program."""
    return bool(getattr(sys, "frozen", False))


def folder() -> str:
    """Return the folder with the contents of the standalone program; "" outside of it."""
    return str(getattr(sys, "_MEIPASS", ""))


def prepare() -> None:
    """Correct the environment of the standalone program; does nothing elsewhere.

    Does not return in a process that multiprocessing has started: it does its work here.
    """
    if is_frozen():
        restore_library_path()
        set_ca_bundle()
        serve(sys.argv)


def restore_library_path() -> None:
    """Restore the caller's library path.

    The linker of this process has read ours already.  A program that a camera starts must
    not find our libraries instead of its own.
    """
    before = os.environ.pop("LD_LIBRARY_PATH_ORIG", None)
    os.environ.pop("LD_LIBRARY_PATH", None)
    if before is not None:
        os.environ["LD_LIBRARY_PATH"] = before


def set_ca_bundle() -> None:
    """Point OpenSSL at the first CA bundle that exists, unless its own variables are set.

    Our OpenSSL was built elsewhere and knows the paths of one distribution at most.
    """
    if os.environ.get("SSL_CERT_FILE") or os.environ.get("SSL_CERT_DIR"):
        return
    for bundle in CA_BUNDLES:
        if os.access(bundle, os.R_OK):
            os.environ["SSL_CERT_FILE"] = bundle
            return


def serve(argv: Sequence[str]) -> None:
    """Act as the process that multiprocessing wanted to start, if it started this one.

    It runs `sys.executable`, here this program, with arguments for an interpreter.
    """
    if argv[1:2] == ["--multiprocessing-fork"]:
        from multiprocessing import spawn

        spawn.freeze_support()
    elif argv[-2:-1] == ["-c"] and argv[-1].startswith(_HELPERS):
        exec(argv[-1], {})  # noqa: S102  (one of the two above)
        raise SystemExit


def command(*arguments: str) -> list[str]:
    """Return the command line that starts this program again with `arguments`."""
    program = [sys.executable] if is_frozen() else [sys.executable, "-m", "evtools"]
    return [*program, *arguments]


def build() -> dict[str, Any]:
    """Return how the standalone program was built; empty outside of it.

    `form` is "single file" or "folder", `commit` and `date` are those of its sources,
    `bootloader` is "own" in a release, `library` lists the modules of the standard
    library that are inside.
    """
    if not folder():
        return {}
    import json

    with open(f"{folder()}/build.json", "rb") as file:  # noqa: PTH123  (start-up time)
        found: dict[str, Any] = json.load(file)
    return found
