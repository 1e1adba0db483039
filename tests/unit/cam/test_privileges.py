"""Users, groups, and files for them. The kernel is a fake; integration tests ask the real one."""

import contextlib
import errno
import grp
import os
import pwd

import pytest

from evtools.cam import privileges
from evtools.cam.privileges import Identity, acting_as, become, identity, open_owned, share
from evtools.errors import EvtoolsError, OutputError, UsageError

ROOT = Identity(0, 0, (0,), "root", "/root")
WATCH = Identity(1001, 1002, (1002, 27), "watch", "/home/watch")
DAEMON = pwd.getpwnam("daemon")


class Kernel:
    """Users and groups of a process, with the rules that Linux has for them."""

    def __init__(self, uid=0, gid=0, groups=(0, 4)):
        self.uids, self.gids, self.groups = [uid] * 3, [gid] * 3, list(groups)
        self.calls = []
        #: What a broken kernel lets anybody do.
        self.forgives = set()

    def patch(self, monkeypatch):
        for name in (
            *("getuid", "geteuid", "getegid", "getresuid", "getresgid", "getgroups"),
            *("setuid", "seteuid", "setgid", "setegid", "setresuid", "setresgid"),
            *("setgroups", "initgroups"),
        ):
            monkeypatch.setattr(os, name, getattr(self, name))
        return self

    def getuid(self):
        return self.uids[0]

    def geteuid(self):
        return self.uids[1]

    def getegid(self):
        return self.gids[1]

    def getresuid(self):
        return tuple(self.uids)

    def getresgid(self):
        return tuple(self.gids)

    def getgroups(self):
        return list(self.groups)

    def _permit(self, name, allowed):
        self.calls.append(name)
        if not allowed and name not in self.forgives:
            raise PermissionError(errno.EPERM, "Operation not permitted")

    def setuid(self, uid):
        self._permit("setuid", allowed=uid in self.uids or self.uids[1] == 0)
        self.uids = [uid] * 3

    def seteuid(self, uid):
        self._permit("seteuid", allowed=uid in self.uids or self.uids[1] == 0)
        self.uids[1] = uid

    def setgid(self, gid):
        self._permit("setgid", allowed=gid in self.gids or self.uids[1] == 0)
        self.gids = [gid] * 3

    def setegid(self, gid):
        self._permit("setegid", allowed=gid in self.gids or self.uids[1] == 0)
        self.gids[1] = gid

    def setresuid(self, *uids):
        self._permit("setresuid", allowed=self.uids[1] == 0)
        self.uids = list(uids)

    def setresgid(self, *gids):
        self._permit("setresgid", allowed=self.uids[1] == 0)
        self.gids = list(gids)

    def setgroups(self, groups):
        self._permit("setgroups", allowed=self.uids[1] == 0)
        self.groups = list(groups)

    def initgroups(self, name, gid):
        self._permit("initgroups", allowed=self.uids[1] == 0)
        self.groups = [gid, 99]


@pytest.fixture
def kernel(monkeypatch):
    monkeypatch.setattr(privileges, "_capabilities", lambda _: iter(()))
    return Kernel().patch(monkeypatch)


# --- whom names stand for -----------------------------------------------------------


@pytest.mark.parametrize("uid", ["daemon", str(DAEMON.pw_uid)])
def test_a_user_has_its_own_group_and_groups(kernel, uid):
    found = identity(uid, "")
    assert (found.uid, found.gid) == (DAEMON.pw_uid, DAEMON.pw_gid)
    assert (found.name, found.home) == ("daemon", DAEMON.pw_dir)
    assert set(found.groups) == set(os.getgrouplist("daemon", DAEMON.pw_gid))


def test_another_group_takes_the_place_of_the_users_own(kernel):
    tty = grp.getgrnam("tty").gr_gid
    assert identity("daemon", "tty").gid == tty
    assert identity("daemon", "4711").gid == 4711


def test_a_group_alone_leaves_the_user_and_takes_all_other_groups(kernel):
    assert identity("", "4711") == Identity(0, 4711, (4711,), "root", "/root")


def test_a_number_without_an_entry_needs_a_group(kernel):
    with pytest.raises(UsageError, match="--uid: 999999 has no entry") as caught:
        identity("999999", "")
    assert "--gid" in caught.value.hint
    assert identity("999999", "7") == Identity(999999, 7, (7,))


@pytest.mark.parametrize(
    ("uid", "gid", "words"),
    [
        ("no-such-user", "", "--uid: there is no user no-such-user"),
        ("9" * 5000, "", "--uid: there is no user 9999"),
        ("9" * 20, "", "--uid: 99999999999999999999 has no entry"),
        ("-1", "", "--uid: there is no user -1"),
        ("daemon", "no-such-group", "--gid: there is no group no-such-group"),
    ],
)
def test_who_does_not_exist_is_refused(kernel, uid, gid, words):
    with pytest.raises(UsageError, match=words):
        identity(uid, gid)


def test_only_root_can_become_another(monkeypatch):
    Kernel(1001, 1002, [1002]).patch(monkeypatch)
    with pytest.raises(UsageError, match="only root can run evcam as user daemon"):
        identity("daemon", "")
    with pytest.raises(UsageError, match="as user daemon and group 7"):
        identity("daemon", "7")


def test_who_one_is_already_needs_no_root(monkeypatch):
    own = os.getgrouplist("daemon", DAEMON.pw_gid)
    Kernel(DAEMON.pw_uid, DAEMON.pw_gid, own).patch(monkeypatch)
    assert identity("daemon", "").is_ours


# --- for a moment -------------------------------------------------------------------


def test_for_a_moment_root_is_somebody_else(kernel):
    with acting_as(WATCH):
        assert (kernel.geteuid(), kernel.getegid()) == (1001, 1002)
        assert kernel.groups == [1002, 27]
    assert (kernel.uids, kernel.gids, kernel.groups) == ([0] * 3, [0] * 3, [0, 4])


def test_what_goes_wrong_meanwhile_makes_root_itself_again(kernel):
    with contextlib.suppress(KeyError), acting_as(WATCH):
        raise KeyError
    assert kernel.geteuid() == 0
    assert kernel.groups == [0, 4]


# --- for good -----------------------------------------------------------------------


def test_groups_go_first_then_the_group_then_the_user(kernel):
    environ = {"HOME": "/root", "USER": "root", "PATH": "/bin"}
    become(WATCH, environ)
    assert kernel.calls[:4] == ["initgroups", "setgroups", "setresgid", "setresuid"]
    assert (kernel.uids, kernel.gids) == ([1001] * 3, [1002] * 3)
    assert kernel.groups == [1002, 27]
    assert environ == {"HOME": "/home/watch", "USER": "watch", "LOGNAME": "watch", "PATH": "/bin"}


def test_a_user_without_a_name_has_no_home(kernel):
    environ = {"HOME": "/root", "USER": "root", "LOGNAME": "root"}
    become(Identity(999999, 7, (7,)), environ)
    assert environ == {}
    assert "initgroups" not in kernel.calls


def test_root_may_stay_root_with_fewer_groups(kernel):
    become(Identity(0, 4711, (4711,), "root", "/root"), {})
    assert (kernel.uids, kernel.gids, kernel.groups) == ([0] * 3, [4711] * 3, [4711])


def test_who_one_is_already_changes_nothing(monkeypatch):
    kernel = Kernel(1001, 1002, [1002]).patch(monkeypatch)
    become(WATCH, {})
    assert kernel.calls == []


@pytest.mark.parametrize("way", ["setuid", "seteuid", "setgid", "setegid", "setgroups"])
def test_any_way_back_ends_it(kernel, way):
    kernel.forgives = {way}
    with pytest.raises(EvtoolsError, match=r"privileges could not be dropped.*works"):
        become(WATCH, {})


def test_a_way_that_fails_for_another_reason_is_told(kernel, monkeypatch):
    def setgid(_):
        raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(os, "setgid", setgid)
    with pytest.raises(EvtoolsError, match=r"setgid\(0\): Invalid argument"):
        become(WATCH, {})


def test_a_kernel_that_only_pretends_is_found_out(kernel, monkeypatch):
    monkeypatch.setattr(os, "setresuid", lambda *_: None)
    with pytest.raises(EvtoolsError, match="are not what they should be"):
        become(WATCH, {})


def test_who_may_not_become_another_says_so(monkeypatch):
    Kernel(1001, 1002, []).patch(monkeypatch)
    with pytest.raises(EvtoolsError, match="cannot become user daemon: Operation not"):
        become(Identity(1, 1, (1,), "daemon", "/"), {})
    with pytest.raises(EvtoolsError, match="cannot become user 1: Operation not"):
        become(Identity(1, 1, (1,)), {})


def test_a_folder_can_be_shared_with_everybody_for_reading(tmp_path):
    inner = tmp_path / "folder" / "inner"
    inner.mkdir(parents=True, mode=0o700)
    (inner / "file.so").touch(mode=0o600)
    (inner / "other.so").touch()
    (inner / "other.so").chmod(0o777)
    (inner / "link").symlink_to("/no/such/file")
    share(tmp_path / "folder")
    modes = {
        path.name: path.stat().st_mode & 0o777
        for path in (tmp_path / "folder", inner, *inner.glob("*.so"))
    }
    assert modes == {"folder": 0o755, "inner": 0o755, "file.so": 0o655, "other.so": 0o755}


# --- capabilities -------------------------------------------------------------------

STATUS = "Name:\tevcam\nCapInh:\t{}\nCapPrm:\t{}\nCapEff:\t{}\nCapAmb:\t{}\n"
NONE, SOME = "0" * 16, "00000000000000c0"


def test_capabilities_that_are_left_are_named(tmp_path):
    file = tmp_path / "status"
    file.write_text(STATUS.format(SOME, NONE, NONE, SOME))
    assert list(privileges._capabilities(file)) == [f"CapAmb is {SOME}"]
    file.write_text(STATUS.format(SOME, NONE, NONE, NONE))
    assert list(privileges._capabilities(file)) == []


# === files ===========================================================================


FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CREAT
OTHER = Identity(64_999, 64_999, (64_999,))


@pytest.fixture
def refusing(monkeypatch):
    """The other user may open nothing."""
    given = []

    class Refusing:
        def __init__(self, who):
            self.who = who

        def __enter__(self):
            if self.who is not None:
                raise PermissionError(13, "Permission denied")

        def __exit__(self, *exc_info):
            return False

    monkeypatch.setattr(privileges, "acting_as", Refusing)
    monkeypatch.setattr(os, "fchown", lambda file, *who: given.append(who))
    return given


def content_after_opening(path, owner, **how):
    file = open_owned(path, FLAGS, owner, mode=0o640, **how)
    assert not os.get_inheritable(file)
    os.write(file, b"more")
    os.close(file)
    return path.read_text()


def test_for_oneself_it_is_opened_as_usual(tmp_path):
    there = tmp_path / "there"
    there.write_text("some ")
    (tmp_path / "link").symlink_to(there)
    assert content_after_opening(tmp_path / "link", None) == "some more"
    assert content_after_opening(tmp_path / "new", None) == "more"
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o640


def test_what_one_may_not_open_oneself_is_an_error(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(PermissionError):
        open_owned(tmp_path / "x", FLAGS, None, mode=0o640)


def test_what_root_makes_for_another_is_given_away(tmp_path, refusing):
    assert content_after_opening(tmp_path / "new", OTHER, give=True) == "more"
    assert refusing == [(64_999, 64_999)]


def test_what_was_there_is_not_given_away(tmp_path, refusing):
    (tmp_path / "old").write_text("some ")
    assert content_after_opening(tmp_path / "old", OTHER, give=True) == "some more"
    assert content_after_opening(tmp_path / "new", OTHER) == "more"
    assert refusing == []


def test_root_follows_no_link(tmp_path, refusing):
    (tmp_path / "secret").write_text("root's")
    (tmp_path / "link").symlink_to(tmp_path / "secret")
    with pytest.raises(OSError, match="symbolic link"):
        open_owned(tmp_path / "link", FLAGS, OTHER, mode=0o640, give=True)


def test_root_writes_into_no_file_with_a_second_name(tmp_path, refusing):
    (tmp_path / "secret").write_text("root's")
    (tmp_path / "twin").hardlink_to(tmp_path / "secret")
    with pytest.raises(OutputError, match="has a second name"):
        open_owned(tmp_path / "twin", FLAGS, OTHER, mode=0o640)


def test_root_writes_into_no_pipe(tmp_path, refusing):
    os.mkfifo(tmp_path / "pipe")
    flags = os.O_RDWR | os.O_NONBLOCK
    with pytest.raises(OutputError, match="it is not a plain file"):
        open_owned(tmp_path / "pipe", flags, OTHER, mode=0o640)
