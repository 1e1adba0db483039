"""What root trusts: paths that only root could have made, code that only root can write.

Users who are not root open files as usual.
"""

import contextlib
import errno
import os
import stat
import sys
from collections.abc import Iterator, Sequence
from functools import cache
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import cache_from_source
from pathlib import Path
from types import ModuleType
from typing import Final

from evtools.errors import UsageError

_ROOT: Final = 0
#: As many links on one way as the kernel follows.
_LINKS_MAX: Final = 40
_STEPS_MAX: Final = 1000
_FOLDER: Final = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
_ALWAYS: Final = os.O_CLOEXEC | os.O_NOCTTY
_NO_FILE: Final = "it is no plain file, and others than root can write its folder"


def open_safely(path: str | Path, flags: int, mode: int = 0o666) -> int:
    """Open a file; return its descriptor.

    Users who can change the way to a file, or put one there, must not have root write where
    they could not.  So root follows a link only if it belongs to root and lies where others
    cannot put one.  Where others can, root does not touch a file with a second name, and in
    folders like /tmp none that a third user has made.  Raise OSError.
    """
    flags |= _ALWAYS
    try:
        with _way(path, follow=not flags & os.O_NOFOLLOW) as (folder, name, is_magic):
            if folder is None:
                return os.open(path, flags, mode)
            wanted = flags if is_magic else flags | os.O_NOFOLLOW
            around = os.fstat(folder)
            if _is_loose(around):
                return _open_among_others(folder, around, name, wanted, mode)
            return os.open(name, wanted, mode, dir_fd=folder)
    except OSError as error:
        # The kernel speaks of too many links.
        if error.errno == errno.ELOOP and flags & os.O_NOFOLLOW and Path(path).is_symlink():
            raise OSError(errno.ELOOP, "it is a symbolic link") from None
        raise


def _open_among_others(
    folder: int, around: os.stat_result, name: str, flags: int, mode: int
) -> int:
    # A pipe that others have put here cannot hold us up.
    nonblock = os.O_NONBLOCK & ~flags
    if _is_sticky(around):
        with contextlib.suppress(FileNotFoundError):
            if os.stat(name, dir_fd=folder, follow_symlinks=False).st_uid == _ROOT:
                nonblock = 0
    try:
        # Nothing is truncated before it is known what it is.
        file = os.open(name, flags & ~os.O_TRUNC | nonblock, mode, dir_fd=folder)
    except OSError as error:
        if error.errno == errno.ENXIO and nonblock:
            raise PermissionError(errno.EPERM, _NO_FILE) from None
        raise
    try:
        status, complaint = os.fstat(file), ""
        is_plain = stat.S_ISREG(status.st_mode)
        if not is_plain:
            complaint = "" if status.st_uid == _ROOT or stat.S_ISCHR(status.st_mode) else _NO_FILE
        elif status.st_nlink > 1:
            complaint = "it has a second name, and others than root can write its folder"
        elif around.st_mode & stat.S_IWOTH and status.st_uid not in {_ROOT, around.st_uid}:
            complaint = f"user {status.st_uid} has made it in a folder that everybody can write"
        if complaint:
            raise PermissionError(errno.EPERM, complaint)  # noqa: TRY301  (closed below)
        if nonblock:
            os.set_blocking(file, True)
        if flags & os.O_TRUNC and is_plain:
            os.ftruncate(file, 0)
    except BaseException:
        os.close(file)
        raise
    return file


@contextlib.contextmanager
def safe_place(path: str | Path) -> Iterator[tuple[int | None, str]]:
    """Yield the folder of a path, reached as in `open_safely`, for `dir_fd`, and the name in it."""
    with _way(path, follow=False) as (folder, name, _):
        yield folder, name


def replace_file(path: str | Path, data: bytes, mode: int | None = None) -> None:
    """Write a file that gets its name only when it is complete and on disk; raise OSError.

    It is reached as in `open_safely`.  Without a `mode` it has what the umask leaves of 0666.
    """
    with safe_place(path) as (folder, name):
        head, slash, last = name.rpartition("/")
        # Not a name that other programs look for, and none that others can foresee.
        temporary = f"{head}{slash}.{last}.{os.urandom(8).hex()}.tmp"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | _ALWAYS
        descriptor = os.open(temporary, flags, 0o666 if mode is None else mode, dir_fd=folder)
        try:
            with open(descriptor, "wb") as file:  # noqa: PTH123  (a descriptor)
                if mode is not None:
                    os.fchmod(file.fileno(), mode)
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary, dir_fd=folder)
            raise


def enter_folder(path: str | Path) -> None:
    """Make a folder the working directory; root goes there as in `open_safely`."""
    with _way(path, follow=True) as (folder, name, _):
        nofollow = 0 if folder is None else os.O_NOFOLLOW
        entered = os.open(name, _FOLDER | nofollow, dir_fd=folder)
    try:
        os.fchdir(entered)
    finally:
        os.close(entered)


def check_way(path: str | Path) -> None:
    """Raise PermissionError where root would not open a file; it may be missing."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError), _way(path, follow=True):
        pass


def check_folder(path: Path) -> None:
    """Raise PermissionError for a folder in which root may open no file by its name.

    That is for libraries that do so: meanwhile another user could have put something else there.
    """
    culprit = writable_by_others(path, sticky_end=True) if _is_root() else None
    if culprit is not None:
        raise PermissionError(errno.EPERM, f"others than root can write {culprit}")


def make_folders(path: Path, mode: int = 0o700) -> None:
    """Make a folder, and those it is in, as far as they are missing; raise OSError."""
    for folder in (*reversed(path.absolute().parents), path):
        with safe_place(folder) as (place, name):
            try:
                os.mkdir(name, mode, dir_fd=place)
            except OSError:
                # A system may say that it is read-only before that it is there.
                if not folder.is_dir():
                    raise


@contextlib.contextmanager
def _way(path: str | Path, *, follow: bool) -> Iterator[tuple[int | None, str, bool]]:
    # Go to a file, one folder after the other; each is held while it is checked.  Yield the
    # last folder, the name in it, and whether that is a link as /proc has them, which lead to
    # files that may have no name.  Another link at the end is followed with `follow`.  For
    # users who are not root there is no folder, and the name is all of the path.
    if not _is_root():
        yield None, str(path), False
        return
    left = _names(os.path.join(os.getcwd(), path))  # noqa: PTH109, PTH118  (keeps "..")
    folder, where, name, is_magic, links = os.open("/", _FOLDER), Path("/"), ".", False, 0
    try:
        while left:
            name = left.pop()
            is_link = bool(follow or left) and _is_link(folder, name, where)
            is_magic = is_link and where.is_relative_to("/proc")
            links += is_link
            if links > _LINKS_MAX:
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
            if is_link and not is_magic:
                target = os.readlink(name, dir_fd=folder)
                left += _names(target)
                if not target.startswith("/"):
                    continue
                following, where = os.open("/", _FOLDER), Path("/")
            elif not left:
                break
            else:
                flags = _FOLDER if is_magic else _FOLDER | os.O_NOFOLLOW
                following = os.open(name, flags, dir_fd=folder)
                where = where.parent if name == ".." else where / name
            os.close(folder)
            folder = following
        else:
            name, is_magic = ".", False
        yield folder, name, is_magic
    finally:
        os.close(folder)


def _is_link(folder: int, name: str, where: Path) -> bool:
    # Raise PermissionError for a link of others.
    try:
        status = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    if not stat.S_ISLNK(status.st_mode):
        return False
    around = os.fstat(folder)
    if status.st_uid != _ROOT or (_is_loose(around) and not _is_sticky(around)):
        raise PermissionError(
            errno.EPERM,
            f"root does not follow the link {where / name}, which others than root can change",
        )
    return True


def _names(path: str) -> list[str]:
    return [name for name in reversed(path.split("/")) if name not in {"", "."}]


def _is_root() -> bool:
    return os.geteuid() == _ROOT


def _is_loose(status: os.stat_result) -> bool:
    group = status.st_mode & stat.S_IWGRP and status.st_gid != _ROOT
    return status.st_uid != _ROOT or bool(group or status.st_mode & stat.S_IWOTH)


def _is_sticky(status: os.stat_result) -> bool:
    # Whether it is a folder of root's where others move only their own files.
    return status.st_uid == _ROOT and bool(status.st_mode & stat.S_ISVTX)


# --- code and settings --------------------------------------------------------------


class Guard(MetaPathFinder):
    """Have root import no module that others can write, from anywhere.

    The installed libraries of Python and evtools are not checked: a user who can write these needs
    no import.  `remedy` says what to do about a module that is refused.
    """

    def __init__(self, remedy: str) -> None:
        self._remedy = remedy

    def install(self) -> None:
        """Check each module that is imported from now on, in place of an earlier guard."""
        self.lift()
        if _is_root():
            _installed()  # which imports
            sys.meta_path.insert(0, self)

    @staticmethod
    def lift() -> None:
        sys.meta_path[:] = [one for one in sys.meta_path if not isinstance(one, Guard)]

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None, /
    ) -> ModuleSpec | None:
        """Raise UsageError for a module that is not for root; find none itself."""
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and _is_root():
            places = [spec.origin] if spec.has_location else spec.submodule_search_locations or ()
            if not all(
                any(Path(place).is_relative_to(library) for library in _installed())
                for place in places
                if place
            ):
                refuse_untrusted(spec, self._remedy)
        return None


@cache
def _installed() -> tuple[str, ...]:
    import sysconfig  # noqa: PLC0415  (slow, and for few)

    names = ("stdlib", "platstdlib", "purelib", "platlib")
    return (*map(sysconfig.get_path, names), str(Path(__file__).parent))


def refuse_untrusted(spec: ModuleSpec, remedy: str) -> None:
    """Raise UsageError if others than root own or may write a module, or the way there.

    A module is its file and its compiled file, a package its folder, which could get a submodule.
    """
    files = [Path(folder) for folder in spec.submodule_search_locations or ()]
    files = [folder for folder in files if folder.is_dir()]
    if spec.has_location and spec.origin is not None:
        files.append(Path(spec.origin))
        with contextlib.suppress(NotImplementedError, ValueError):
            # It counts before it is there, too: Python looks for it once more than we do.
            files.append(Path(cache_from_source(spec.origin)))
    for path in files:
        culprit = writable_by_others(path)
        if culprit is not None:
            raise UsageError(
                f"root does not load {path}: others than root can write {culprit}", remedy
            )


def distrusted(path: Path) -> Path | None:
    """Return by which file or folder others can change a file that root is about to obey.

    None if there is none, and for users who are not root.
    """
    # Nothing that is written to /dev/null is read from it.
    return None if not _is_root() or path.is_char_device() else writable_by_others(path)


def writable_by_others(path: Path, *, sticky_end: bool = False) -> Path | None:
    """Return the file, folder or link by which others can change the file at `path`.

    In a directory like /tmp, where all users may create files but not remove those of others,
    a file of root's is safe, but not one that is not there yet; `sticky_end` lets it pass at
    the end of the way, too.  A read-only mount cannot be changed here.
    """
    here, left = Path("/"), _names(str(path.absolute()))
    # All that is on the way, with the links and where they lead.
    steps = [here]
    while left and len(steps) < _STEPS_MAX:
        name = left.pop()
        if name == "..":
            here = here.parent
            continue
        steps.append(here / name)
        try:
            target = str(steps[-1].readlink())
        except OSError:  # it is no link
            here = steps[-1]
            continue
        left += _names(target)
        if target.startswith("/"):
            here = Path("/")
    full = () if sticky_end else (path.absolute().parent, steps[-1].parent, steps[-1])
    for step in steps:
        try:
            status = step.lstat()
        except (FileNotFoundError, NotADirectoryError):
            continue
        if stat.S_ISLNK(status.st_mode):
            mount, is_open = step.parent, status.st_uid != _ROOT
        else:
            may_pass = step not in full and _is_sticky(status)
            mount, is_open = step, _is_loose(status) and not may_pass
        if is_open and not os.statvfs(mount).f_flag & os.ST_RDONLY:
            return step
    return None
