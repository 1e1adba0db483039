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

_OTHERS: Final = stat.S_IWOTH
_GROUP: Final = stat.S_IWGRP
_ROOT: Final = 0
#: As many links on one way as the kernel follows.
_LINKS_MAX: Final = 40
_STEPS_MAX: Final = 1000
_FOLDER: Final = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
_ALWAYS: Final = os.O_CLOEXEC | os.O_NOCTTY
_NO_FILE: Final = "it is no plain file, and others than root can write its folder"


# --- files --------------------------------------------------------------------------


def open_safely(path: str | Path, flags: int, mode: int = 0o666) -> int:
    """Open a file; return its descriptor.

    Users who can change the way to a file, or put one there, must not have root write where
    they could not.  So root follows a link only if it belongs to root and lies where others
    cannot put one.  Where others can, root does not touch a file with a second name, and in
    folders like /tmp none that a third user has made.  Raise OSError.
    """
    flags |= _ALWAYS
    if not _is_root():
        with _clear_errors(path, flags):
            return os.open(path, flags, mode)
    with _walk(path) as way:
        is_magic = way.go(follow=not flags & os.O_NOFOLLOW)
        nofollow = 0 if is_magic else os.O_NOFOLLOW
        nonblock = 0 if flags & os.O_NONBLOCK else way.nonblock()
        with _clear_errors(path, flags, nonblock):
            # Nothing is truncated before it is known what it is.
            how = flags & ~os.O_TRUNC | nofollow | nonblock
            file = os.open(way.name, how, mode, dir_fd=way.folder)
        try:
            _refuse_planted(os.fstat(file), os.fstat(way.folder))
            if nonblock:
                os.set_blocking(file, True)
            if flags & os.O_TRUNC and stat.S_ISREG(os.fstat(file).st_mode):
                os.ftruncate(file, 0)
        except BaseException:
            os.close(file)
            raise
    return file


@contextlib.contextmanager
def safe_place(path: str | Path) -> Iterator[tuple[int | None, str]]:
    """Yield the folder of a path as `dir_fd` takes it, and the name in it.

    The folder is reached as in `open_safely`; the name itself may be a link.
    """
    if not _is_root():
        yield None, str(path)
        return
    with _walk(path) as way:
        way.go(follow=False)
        yield way.folder, way.name


def enter_folder(path: str | Path) -> None:
    """Make a folder the working directory; root goes there as in `open_safely`."""
    if not _is_root():
        os.chdir(path)
        return
    with _walk(path) as way:
        way.go(follow=True)
        folder = os.open(way.name, _FOLDER | os.O_NOFOLLOW, dir_fd=way.folder)
    try:
        os.fchdir(folder)
    finally:
        os.close(folder)


def check_way(path: str | Path) -> None:
    """Raise PermissionError where root would not open a file; it may be missing."""
    if _is_root():
        with _walk(path) as way, contextlib.suppress(FileNotFoundError, NotADirectoryError):
            way.go(follow=True)


def check_folder(path: Path) -> None:
    """Raise PermissionError for a folder in which root may open no file by its name.

    That is for libraries that open files by themselves, and not as in `open_safely`: in the
    meantime another user could have put something else there.
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


def _is_root() -> bool:
    return os.geteuid() == _ROOT


class _Way:
    """The way to a file, one folder after the other; each is held while it is checked."""

    def __init__(self, path: str | Path) -> None:
        whole = os.path.join(os.getcwd(), path)  # noqa: PTH109, PTH118  (keeps "..")
        self.folder = os.open("/", _FOLDER)
        self.name = "."
        self._where = Path("/")
        self._left = _names(whole)
        self._links = 0

    def go(self, *, follow: bool) -> bool:
        """Go up to the last name, or with `follow` to the last that is no trusted link.

        Return whether that is a link as /proc has them, which lead to files that may have no name.
        """
        while self._left:
            self.name = self._left.pop()
            is_last = not self._left
            is_link = (follow or not is_last) and self._is_link()
            is_magic = is_link and self._where.is_relative_to("/proc")
            if is_last and (is_magic or not is_link):
                return is_magic
            if is_link and not is_magic:
                target = os.readlink(self.name, dir_fd=self.folder)
                if target.startswith("/"):
                    self._move(os.open("/", _FOLDER), Path("/"))
                self._left += _names(target)
            else:
                where = self._where / self.name if self.name != ".." else self._where.parent
                flags = _FOLDER if is_link else _FOLDER | os.O_NOFOLLOW
                self._move(os.open(self.name, flags, dir_fd=self.folder), where)
        self.name = "."
        return False

    def nonblock(self) -> int:
        """Return the flag with which a pipe that others put here cannot hold us up."""
        around = os.fstat(self.folder)
        if not _is_loose(around):
            return 0
        if _is_sticky(around):
            with contextlib.suppress(FileNotFoundError):
                there = os.stat(self.name, dir_fd=self.folder, follow_symlinks=False)
                return 0 if there.st_uid == _ROOT else os.O_NONBLOCK
        return os.O_NONBLOCK

    def _is_link(self) -> bool:
        """Return whether there is a link; raise PermissionError for one of others."""
        try:
            status = os.stat(self.name, dir_fd=self.folder, follow_symlinks=False)
        except FileNotFoundError:
            return False
        if not stat.S_ISLNK(status.st_mode):
            return False
        around = os.fstat(self.folder)
        is_fixed = not _is_loose(around) or _is_sticky(around)
        if status.st_uid != _ROOT or not is_fixed:
            raise PermissionError(
                errno.EPERM,
                f"root does not follow the link {self._where / self.name}, which"
                " others than root can change",
            )
        self._links += 1
        if self._links > _LINKS_MAX:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
        return True

    def _move(self, folder: int, where: Path) -> None:
        os.close(self.folder)
        self.folder, self._where = folder, where


@contextlib.contextmanager
def _walk(path: str | Path) -> Iterator[_Way]:
    way = _Way(path)
    try:
        yield way
    finally:
        os.close(way.folder)


def _names(path: str) -> list[str]:
    return [name for name in reversed(path.split("/")) if name not in {"", "."}]


@contextlib.contextmanager
def _clear_errors(path: str | Path, flags: int, nonblock: int = 0) -> Iterator[None]:
    """Name a link where the kernel speaks of too many, and a pipe where of no device."""
    try:
        yield
    except OSError as error:
        if error.errno == errno.ENXIO and nonblock:
            raise PermissionError(errno.EPERM, _NO_FILE) from None
        if error.errno == errno.ELOOP and flags & os.O_NOFOLLOW and Path(path).is_symlink():
            raise OSError(errno.ELOOP, "it is a symbolic link") from None
        raise


def _refuse_planted(status: os.stat_result, around: os.stat_result) -> None:
    """Raise PermissionError for a file that others may have laid out for root."""
    if not _is_loose(around):
        return
    if not stat.S_ISREG(status.st_mode):
        if status.st_uid != _ROOT and not stat.S_ISCHR(status.st_mode):
            raise PermissionError(errno.EPERM, _NO_FILE)
        return
    if status.st_nlink > 1:
        raise PermissionError(
            errno.EPERM, "it has a second name, and others than root can write its folder"
        )
    is_of_third = status.st_uid not in {_ROOT, around.st_uid}
    if around.st_mode & _OTHERS and is_of_third:
        raise PermissionError(
            errno.EPERM, f"user {status.st_uid} has made it in a folder that everybody can write"
        )


# --- code and settings --------------------------------------------------------------


class Guard(MetaPathFinder):
    """Have root import no module that others can write, from anywhere.

    The installed libraries of Python and evtools are not checked: a user who can write these
    needs no import.  `remedy` says what to do about a module that is refused.
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
        if spec is not None and _is_root() and not _is_installed(spec):
            refuse_untrusted(spec, self._remedy)
        return None


def refuse_untrusted(spec: ModuleSpec, remedy: str) -> None:
    """Raise UsageError if somebody else than root can change a module.

    That is a user who owns, or may write, its file, its compiled file, or a directory on the
    way there.
    """
    for path in _files(spec):
        culprit = writable_by_others(path)
        if culprit is not None:
            raise UsageError(
                f"root does not load {path}: others than root can write {culprit}", remedy
            )


def distrusted(path: Path) -> Path | None:
    """Return the file or folder by which others can change a file that root is about to obey.

    None if there is none, and for users who are not root.
    """
    # Nothing that is written to /dev/null is read from it.
    if not _is_root() or path.is_char_device():
        return None
    return writable_by_others(path)


def writable_by_others(path: Path, *, sticky_end: bool = False) -> Path | None:
    """Return the file, folder or link by which others can change the file at `path`.

    In a directory like /tmp, where all users may create files but not remove those of others,
    a file of root's is safe, but not one that is not there yet; `sticky_end` lets it pass at
    the end of the way, too.  A read-only mount cannot be changed here.
    """
    steps = list(_steps(path))
    last = steps[-1]
    full = () if sticky_end else (path.absolute().parent, last.parent, last)
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


def _steps(path: Path) -> Iterator[Path]:
    """Yield all that is on the way to a file, with the links and where they lead."""
    here, left = Path("/"), _names(str(path.absolute()))
    yield here
    for _ in range(_STEPS_MAX):
        if not left:
            return
        name = left.pop()
        if name == "..":
            here = here.parent
            continue
        yield here / name
        try:
            target = str((here / name).readlink())
        except OSError:  # it is no link
            here /= name
            continue
        left += _names(target)
        if target.startswith("/"):
            here = Path("/")


@cache
def _installed() -> tuple[str, ...]:
    """Return where Python, its libraries and evtools are."""
    import sysconfig  # noqa: PLC0415  (slow, and for few)

    names = ("stdlib", "platstdlib", "purelib", "platlib")
    return (*map(sysconfig.get_path, names), str(Path(__file__).parent))


def _is_installed(spec: ModuleSpec) -> bool:
    """Return whether a module comes with Python, a library or evtools."""
    places = [spec.origin] if spec.has_location else spec.submodule_search_locations
    return all(
        any(Path(place).is_relative_to(library) for library in _installed())
        for place in places or ()
        if place
    )


def _is_loose(status: os.stat_result) -> bool:
    if status.st_uid != _ROOT:
        return True
    group = status.st_mode & _GROUP and status.st_gid != _ROOT
    return bool(group or status.st_mode & _OTHERS)


def _is_sticky(status: os.stat_result) -> bool:
    """Return whether it is a folder of root's where others move only their own files."""
    return status.st_uid == _ROOT and bool(status.st_mode & stat.S_ISVTX)


def _files(spec: ModuleSpec) -> Iterator[Path]:
    """Yield the files that a module comes from; built-in ones come from none."""
    for folder in spec.submodule_search_locations or ():
        if Path(folder).is_dir():
            # A user who can write there can add a submodule.
            yield Path(folder)
    if not spec.has_location or spec.origin is None:
        return
    yield Path(spec.origin)
    try:
        compiled = Path(cache_from_source(spec.origin))
    except (NotImplementedError, ValueError):
        return
    # It counts before it is there, too: Python looks for it once more than we do.
    yield compiled
