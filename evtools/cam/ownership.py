"""Files opened on behalf of the user that evcam becomes."""

import os
import stat
from pathlib import Path
from typing import Final

from evtools.cam.privileges import Identity, acting_as
from evtools.errors import OutputError
from evtools.trust import open_safely

_ROOT: Final = 0


def open_owned(
    path: Path, flags: int, owner: Identity | None, *, mode: int, give: bool = False
) -> int:
    """Open a file to write as `owner` does, or as root where `owner` may not.

    As root we would write into, and give away, whatever the user has put
    there a link to; so root goes no way that others can change, follows no
    link at its end, and gives away (`give`) only what it has just made.
    Return the descriptor; raise OSError, and OutputError for what root does
    not touch.
    """
    try:
        with acting_as(owner):
            return open_safely(path, flags, mode)
    except PermissionError:
        if owner is None or owner.is_ours or owner.uid == _ROOT:
            raise
    flags |= os.O_NOFOLLOW
    if give and flags & os.O_CREAT:
        try:
            file = open_safely(path, flags | os.O_EXCL, mode)
        except FileExistsError:
            pass
        else:
            os.fchown(file, owner.uid, owner.gid)
            return file
    file = open_safely(path, flags, mode)
    status = os.fstat(file)
    if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:
        os.close(file)
        raise OutputError(
            f"cannot write {path}: it is no file, or has a second name",
            "as root, evcam writes into plain files only",
        )
    return file
