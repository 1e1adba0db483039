"""The user that evcam runs as, files opened for it, and privileges dropped for good."""

import errno
import grp
import os
import pwd
import re
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from evtools.errors import EvtoolsError, OutputError, UsageError
from evtools.trust import open_safely

_ROOT: Final = 0
_is_number = re.compile(r"[0-9]+").fullmatch
_STATUS: Final = Path("/proc/self/status")
#: Sets of capabilities that a process can use now or again.  The inheritable one is not
#: among them: some containers never empty it.
_USABLE: Final = ("CapPrm:", "CapEff:", "CapAmb:")


@dataclass(frozen=True, slots=True)
class Identity:
    """A user with its groups; `name` and `home` may be unknown, and are "" then."""

    uid: int
    gid: int
    groups: tuple[int, ...]
    name: str = ""
    home: str = ""

    @property
    def is_ours(self) -> bool:
        """Whether this process runs as that user, with these groups."""
        return (
            os.getresuid() == (self.uid,) * 3
            and os.getresgid() == (self.gid,) * 3
            and set(os.getgroups()) <= {*self.groups, self.gid}
        )


def identity(uid: str, gid: str) -> Identity | None:
    """Return the identity of `uid` and `gid` (names or numbers); None for neither.

    Without `gid`, the group is the user's own; without `uid`, the user stays and keeps no other
    group.  Raise UsageError for one that does not exist, or that this process may not become.
    """
    if not (uid or gid):
        return None
    group, user, text = None, None, uid or str(os.getuid())
    try:
        if gid:
            group = int(gid) if _is_number(gid) else grp.getgrnam(gid).gr_gid
    except (KeyError, ValueError):
        raise UsageError(f"--gid: there is no group {gid}") from None
    try:
        user = None if _is_number(text) else pwd.getpwnam(text)
        number = int(text) if user is None else user.pw_uid
    except (KeyError, ValueError):
        raise UsageError(f"--uid: there is no user {text}") from None
    with suppress(KeyError):
        user = user or pwd.getpwuid(number)
    if user is not None:
        group = user.pw_gid if group is None else group
        # --gid alone drops all other groups.
        groups = os.getgrouplist(user.pw_name, group) if uid else [group]
        wanted = Identity(number, group, tuple(groups), user.pw_name, user.pw_dir)
    elif group is not None:
        wanted = Identity(number, group, (group,))
    else:
        text = f"--uid: {number} has no entry in the password database"
        raise UsageError(text, "give its group, too, with --gid")
    if os.geteuid() != _ROOT and not wanted.is_ours:
        asked = [f"{kind} {name}" for kind, name in (("user", uid), ("group", gid)) if name]
        text = f"only root can run evcam as {' and '.join(asked)}"
        raise UsageError(text, "leave out --uid and --gid, or start it as root")
    return wanted


@contextmanager
def acting_as(who: Identity | None) -> Iterator[None]:
    """Act as `who` for a moment, in order to open files; None changes nothing."""
    if who is None or os.geteuid() != _ROOT:
        yield
        return
    gid, groups = os.getegid(), os.getgroups()
    try:
        os.setgroups(who.groups)
        os.setegid(who.gid)
        os.seteuid(who.uid)
        yield
    finally:
        os.seteuid(_ROOT)
        os.setegid(gid)
        os.setgroups(groups)


def open_owned(
    path: Path, flags: int, owner: Identity | None, *, mode: int, give: bool = False
) -> int:
    """Open a file to write as `owner`, or as root where `owner` may not; return the descriptor.

    The user could have put a link there, for root to write into and to give away its target.  So
    root follows no path that others can change and no link at its end, and gives away (`give`) only
    a file that it has just made.  Raise OSError, and OutputError for a file that root does not
    touch.
    """
    try:
        with acting_as(owner):
            return open_safely(path, flags, mode)
    except PermissionError:
        if owner is None or owner.is_ours or owner.uid == _ROOT:
            raise
    flags |= os.O_NOFOLLOW
    if give and flags & os.O_CREAT:
        with suppress(FileExistsError):
            file = open_safely(path, flags | os.O_EXCL, mode)
            os.fchown(file, owner.uid, owner.gid)
            return file
    file = open_safely(path, flags, mode)
    status = os.fstat(file)
    if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:
        os.close(file)
        text = f"cannot write {path}: it is not a plain file, or has a second name"
        raise OutputError(text, "as root, evcam writes into plain files only")
    return file


def become(who: Identity) -> None:
    """Drop all privileges that `who` does not have, for good.

    HOME, USER and LOGNAME become those of `who`.  Raise EvtoolsError if anything is left that could
    bring privileges back.
    """
    if who.is_ours:
        return
    try:
        # First the groups, then the group, then the user: after that it is not allowed.
        if who.name:
            os.initgroups(who.name, who.gid)
        # --gid alone keeps fewer groups than the user has.
        os.setgroups(who.groups)
        os.setresgid(who.gid, who.gid, who.gid)
        os.setresuid(who.uid, who.uid, who.uid)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise EvtoolsError(f"cannot become user {who.name or who.uid}: {reason}") from None
    for name, value in {"HOME": who.home, "USER": who.name, "LOGNAME": who.name}.items():
        os.environ.pop(name, None)
        if value:
            os.environ[name] = value
    left = list(_left(who))
    if left:
        text = f"privileges could not be dropped: {', '.join(left)}"
        raise EvtoolsError(text, "this kernel or container treats them in an unusual way")


def _left(who: Identity) -> Iterator[str]:
    # The privileges that `who` should not have; every way back to root is tried.
    if not who.is_ours:
        yield "user or groups are not what they should be"
    if who.uid == _ROOT:
        return
    tries: list[tuple[str, Callable[[Any], None], Any]] = [
        ("setuid(0)", os.setuid, _ROOT),
        ("seteuid(0)", os.seteuid, _ROOT),
        ("setgroups", os.setgroups, [*who.groups, _ROOT]),
    ]
    if who.gid != _ROOT:
        tries += [("setgid(0)", os.setgid, _ROOT), ("setegid(0)", os.setegid, _ROOT)]
    for name, attempt, argument in tries:
        try:
            attempt(argument)
        except OSError as error:
            if error.errno != errno.EPERM:
                yield f"{name}: {error.strerror}"
        else:
            yield f"{name} works"
    with suppress(OSError):  # no Linux, or no /proc
        for line in _STATUS.read_text().splitlines():
            name, _, value = line.partition("\t")
            if name in _USABLE and int(value, 16):
                yield f"{name.rstrip(':')} is {value}"


def share(folder: Path) -> None:
    """Let all users read a folder of ours, and none write it."""
    for path in (folder, *folder.rglob("*")):
        mode = path.lstat().st_mode
        if not stat.S_ISLNK(mode):
            path.chmod(stat.S_IMODE(mode) & ~0o022 | 0o055)
