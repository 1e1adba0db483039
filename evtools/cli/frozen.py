"""The standalone program: what has to be corrected at its start, and how it was built."""

import os
import sys
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


def prepare() -> None:
    """Correct the environment of the standalone program; does nothing elsewhere.

    Does not return in a process that multiprocessing has started: it does its work here.
    """
    if not is_frozen():
        return
    # The linker of this process has read our library path already.  A program that a camera
    # starts must not find our libraries instead of its own.
    os.environ.pop("LD_LIBRARY_PATH", None)
    if (before := os.environ.pop("LD_LIBRARY_PATH_ORIG", None)) is not None:
        os.environ["LD_LIBRARY_PATH"] = before
    # Our OpenSSL was built elsewhere and knows the paths of one distribution at most.
    if not (os.environ.get("SSL_CERT_FILE") or os.environ.get("SSL_CERT_DIR")):
        bundle = next((path for path in CA_BUNDLES if os.access(path, os.R_OK)), None)
        if bundle:
            os.environ["SSL_CERT_FILE"] = bundle
    # multiprocessing runs `sys.executable`, here this program, with arguments for an interpreter.
    if sys.argv[1:2] == ["--multiprocessing-fork"]:
        from multiprocessing import spawn

        spawn.freeze_support()
    elif sys.argv[-2:-1] == ["-c"] and sys.argv[-1].startswith(_HELPERS):
        exec(sys.argv[-1], {})  # noqa: S102  (one of the two above)
        raise SystemExit


def command(*arguments: str) -> list[str]:
    """Return the command line that starts this program again with `arguments`."""
    program = [sys.executable] if is_frozen() else [sys.executable, "-m", "evtools"]
    return [*program, *arguments]


def folder() -> str:
    """Return the folder with the contents of the standalone program; "" outside of it."""
    return str(getattr(sys, "_MEIPASS", ""))


def build() -> dict[str, Any]:
    """Return how the standalone program was built; empty outside of it.

    `form` is "single file" or "folder", `commit` and `date` are those of its sources, `bootloader`
    is "own" in a release, `library` lists the modules of the standard library that are inside.
    """
    if not folder():
        return {}
    import json

    with open(f"{folder()}/build.json", "rb") as file:  # noqa: PTH123  (start-up time)
        found: dict[str, Any] = json.load(file)
    return found
