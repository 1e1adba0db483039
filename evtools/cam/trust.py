"""Whether anybody but root could have changed code that root is about to run."""

import os
import stat
from collections.abc import Iterator
from importlib.machinery import ModuleSpec
from importlib.util import cache_from_source
from pathlib import Path
from typing import Final

from evtools.errors import UsageError

_OTHERS: Final = stat.S_IWOTH
_GROUP: Final = stat.S_IWGRP
_ROOT: Final = 0


def refuse_untrusted(spec: ModuleSpec) -> None:
    """Raise UsageError if somebody else than root can change a module.

    That is who owns, or may write, its file, its compiled file, or a directory
    on the way there.
    """
    for path in _files(spec):
        culprit = writable_by_others(path)
        if culprit is not None:
            raise UsageError(
                f"root does not load {path}: others than root can write {culprit}",
                "run evcam as who owns it (--uid), give it to root, "
                "or use --allow-insecure-camera",
            )


def writable_by_others(path: Path) -> Path | None:
    """Return the file or directory by which others can change what is at `path`.

    In a directory like /tmp, where everybody may create but nobody remove what
    others have, what belongs to root is safe, but not what is not there yet.
    """
    for whole in {path.absolute(), path.resolve()}:
        if _is_loose(whole.stat()):
            return whole
        for depth, folder in enumerate(whole.parents):
            status = folder.stat()
            may_pass = depth > 0 and status.st_mode & stat.S_ISVTX
            if _is_loose(status) and not (may_pass and status.st_uid == _ROOT):
                return folder
    return None


def _is_loose(status: os.stat_result) -> bool:
    if status.st_uid != _ROOT:
        return True
    group = status.st_mode & _GROUP and status.st_gid != _ROOT
    return bool(group or status.st_mode & _OTHERS)


def _files(spec: ModuleSpec) -> Iterator[Path]:
    """Yield the files that a module comes from; built-in ones come from none."""
    for folder in spec.submodule_search_locations or ():
        if Path(folder).is_dir():
            # Who can write there can add a submodule.
            yield Path(folder)
    if not spec.has_location or spec.origin is None:
        return
    yield Path(spec.origin)
    try:
        compiled = Path(cache_from_source(spec.origin))
    except (NotImplementedError, ValueError):
        return
    if compiled.exists():
        yield compiled
