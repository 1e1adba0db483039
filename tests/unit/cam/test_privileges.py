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

WATCH = Identity(1001, 1002, (1002, 27), "watch", "/home/watch")
DAEMON = pwd.getpwnam("daemon")
OWN = ("HOME", "USER", "LOGNAME")


class Kernel:
    """Users and groups of a process, with the rules that Linux has for them."""

    def __init__(self, uid=0, gid=0, groups=(0, 4)):
        self.uids, self.gids, self.groups = [uid] * 3, [gid] * 3, list(groups)
        self.calls = []
        #: Calls that a broken kernel lets anybody make.
        self.forgives = set()

    def patch(self, monkeypatch):
        monkeypatch.setattr(os, "getuid", lambda: self.uids[0])
        monkeypatch.setattr(os, "geteuid", lambda: self.uids[1])
        monkeypatch.setattr(os, "getegid", lambda: self.gids[1])
        monkeypatch.setattr(os, "getresuid", lambda: tuple(self.uids))
        monkeypatch.setattr(os, "getresgid", lambda: tuple(self.gids))
        monkeypatch.setattr(os, "getgroups", lambda: list(self.groups))
        for kind in ("uid", "gid"):
            for name, places in ((f"set{kind}", (0, 1, 2)), (f"sete{kind}", (1,))):
                monkeypatch.setattr(os, name, self.change_one(name, f"{kind}s", places))
            monkeypatch.setattr(os, f"setres{kind}", self.change_all(f"setres{kind}", f"{kind}s"))
        monkeypatch.setattr(os, "setgroups", self.change_all("setgroups", "groups"))
        initgroups = self.change_all("initgroups", "groups")
        monkeypatch.setattr(os, "initgroups", lambda _, gid: initgroups([gid, 99]))
        return self

    def change_one(self, call, attribute, places):
        def change(number):
            ids = getattr(self, attribute)
            self.permit(call, allowed=number in ids or self.uids[1] == 0)
            for place in places:
                ids[place] = number

        return change

    def change_all(self, call, attribute):
        def change(*numbers):
            self.permit(call, allowed=self.uids[1] == 0)
            setattr(self, attribute, list(*numbers if len(numbers) == 1 else [numbers]))

        return change

    def permit(self, call, *, allowed):
        self.calls.append(call)
        if not allowed and call not in self.forgives:
            raise PermissionError(errno.EPERM, "Operation not permitted")


@pytest.fixture
def kernel(monkeypatch, tmp_path):
    monkeypatch.setattr(privileges, "_STATUS", tmp_path / "status")
    for name in OWN:
        monkeypatch.setenv(name, "root")
    return Kernel().patch(monkeypatch)


# --- whom names stand for -----------------------------------------------------------


@pytest.mark.parametrize("uid", ["daemon", str(DAEMON.pw_uid)])
def test_a_user_has_its_own_group_and_groups(kernel, uid):
    found = identity(uid, "")
    assert (found.uid, found.gid) == (DAEMON.pw_uid, DAEMON.pw_gid)
    assert (found.name, found.home) == ("daemon", DAEMON.pw_dir)
    assert set(found.groups) == set(os.getgrouplist("daemon", DAEMON.pw_gid))


def test_a_group_takes_the_place_of_the_users_own_and_alone_of_all(kernel):
    tty = grp.getgrnam("tty").gr_gid
    assert identity("daemon", "tty").gid == tty
    assert identity("daemon", "4711").gid == 4711
    assert identity("", "4711") == Identity(0, 4711, (4711,), "root", "/root")
    assert identity("999999", "7") == Identity(999999, 7, (7,))


@pytest.mark.parametrize(
    ("uid", "gid", "words"),
    [
        ("no-such-user", "", "--uid: there is no user no-such-user"),
        ("9" * 5000, "", "--uid: there is no user 9999"),
        ("9" * 20, "", "--uid: 99999999999999999999 has no entry"),
        ("999999", "", "--uid: 999999 has no entry"),
        ("-1", "", "--uid: there is no user -1"),
        ("daemon", "no-such-group", "--gid: there is no group no-such-group"),
    ],
)
def test_who_does_not_exist_is_refused(kernel, uid, gid, words):
    with pytest.raises(UsageError, match=words) as caught:
        identity(uid, gid)
    assert ("--gid" in caught.value.hint) == ("no entry" in words)


def test_only_root_can_become_another(monkeypatch):
    Kernel(1001, 1002, [1002]).patch(monkeypatch)
    with pytest.raises(UsageError, match="only root can run evcam as user daemon and group 7"):
        identity("daemon", "7")


def test_who_one_is_already_needs_no_root_and_changes_nothing(monkeypatch):
    own = os.getgrouplist("daemon", DAEMON.pw_gid)
    kernel = Kernel(DAEMON.pw_uid, DAEMON.pw_gid, own).patch(monkeypatch)
    become(identity("daemon", ""))
    assert kernel.calls == []


# --- for a moment -------------------------------------------------------------------


def test_for_a_moment_root_is_somebody_else_whatever_goes_wrong(kernel):
    with contextlib.suppress(KeyError), acting_as(WATCH):
        assert (kernel.uids[1], kernel.gids[1], kernel.groups) == (1001, 1002, [1002, 27])
        raise KeyError
    assert (kernel.uids, kernel.gids, kernel.groups) == ([0] * 3, [0] * 3, [0, 4])


# --- for good -----------------------------------------------------------------------


def test_groups_go_first_then_the_group_then_the_user(kernel):
    become(WATCH)
    assert kernel.calls[:4] == ["initgroups", "setgroups", "setresgid", "setresuid"]
    assert (kernel.uids, kernel.gids, kernel.groups) == ([1001] * 3, [1002] * 3, [1002, 27])
    assert [os.environ[name] for name in OWN] == ["/home/watch", "watch", "watch"]


def test_a_user_without_a_name_has_no_home(kernel):
    become(Identity(999999, 7, (7,)))
    assert os.environ.keys().isdisjoint(OWN)
    assert "initgroups" not in kernel.calls


def test_root_may_stay_root_with_fewer_groups(kernel):
    become(Identity(0, 4711, (4711,), "root", "/root"))
    assert (kernel.uids, kernel.gids, kernel.groups) == ([0] * 3, [4711] * 3, [4711])


@pytest.mark.parametrize("way", ["setuid", "seteuid", "setgid", "setegid", "setgroups"])
def test_any_way_back_ends_it(kernel, way):
    kernel.forgives = {way}
    with pytest.raises(EvtoolsError, match=r"privileges could not be dropped.*works"):
        become(WATCH)


def test_a_way_that_fails_for_another_reason_ends_it_too(kernel, monkeypatch):
    def setgid(_):
        raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(os, "setgid", setgid)
    with pytest.raises(EvtoolsError, match=r"setgid\(0\): Invalid argument"):
        become(WATCH)


def test_a_kernel_that_only_pretends_is_found_out(kernel, monkeypatch):
    monkeypatch.setattr(os, "setresuid", lambda *_: None)
    with pytest.raises(EvtoolsError, match="are not what they should be"):
        become(WATCH)


@pytest.mark.parametrize("kind", ["CapInh", "CapPrm", "CapEff", "CapAmb"])
def test_capabilities_that_are_left_end_it_but_the_inheritable_ones(kernel, tmp_path, kind):
    some, kinds = "00000000000000c0", ("CapInh", "CapPrm", "CapEff", "CapAmb")
    lines = [f"{each}:\t{some if each == kind else '0' * 16}\n" for each in kinds]
    (tmp_path / "status").write_text(f"Name:\tevcam\n{''.join(lines)}")
    expected = pytest.raises(EvtoolsError, match=f"could not be dropped: {kind} is {some}")
    with contextlib.nullcontext() if kind == "CapInh" else expected:
        become(WATCH)


def test_who_may_not_become_another_says_so(monkeypatch):
    Kernel(1001, 1002, []).patch(monkeypatch)
    for name, shown in (("daemon", "daemon"), ("", "1")):
        with pytest.raises(EvtoolsError, match=f"cannot become user {shown}: Operation not"):
            become(Identity(1, 1, (1,), name, "/"))


def test_a_folder_can_be_shared_with_everybody_for_reading(tmp_path):
    inner = tmp_path / "folder" / "inner"
    inner.mkdir(parents=True, mode=0o700)
    (inner / "file.so").touch(mode=0o600)
    (inner / "other.so").touch()
    (inner / "other.so").chmod(0o777)
    (inner / "link").symlink_to("/no/such/file")
    share(tmp_path / "folder")
    paths = (tmp_path / "folder", inner, *inner.glob("*.so"))
    modes = {path.name: path.stat().st_mode & 0o777 for path in paths}
    assert modes == {"folder": 0o755, "inner": 0o755, "file.so": 0o655, "other.so": 0o755}


# === files ===========================================================================


FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CREAT
OTHER = Identity(64_999, 64_999, (64_999,))


@pytest.fixture
def given(monkeypatch):
    """Let the other user open nothing; return to whom files are given."""

    @contextlib.contextmanager
    def acting_as(who):
        if who is not None:
            raise PermissionError(13, "Permission denied")
        yield

    given = []
    monkeypatch.setattr(privileges, "acting_as", acting_as)
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


def test_root_gives_away_only_a_file_that_it_has_just_made(tmp_path, given):
    (tmp_path / "old").write_text("some ")
    assert content_after_opening(tmp_path / "old", OTHER, give=True) == "some more"
    assert content_after_opening(tmp_path / "kept", OTHER) == "more"
    assert given == []
    assert content_after_opening(tmp_path / "new", OTHER, give=True) == "more"
    assert given == [(64_999, 64_999)]


@pytest.mark.parametrize(
    ("kind", "error", "complaint"),
    [
        ("link", OSError, "symbolic link"),
        ("twin", OutputError, "has a second name"),
        ("pipe", OutputError, "it is not a plain file"),
    ],
)
def test_root_follows_no_link_and_writes_into_plain_files_only(
    tmp_path, given, kind, error, complaint
):
    secret, path = tmp_path / "secret", tmp_path / kind
    secret.write_text("root's")
    if kind == "link":
        path.symlink_to(secret)
    elif kind == "twin":
        path.hardlink_to(secret)
    else:
        os.mkfifo(path)
    with pytest.raises(error, match=complaint):
        open_owned(path, os.O_RDWR | os.O_NONBLOCK, OTHER, mode=0o640, give=True)
    assert secret.read_text() == "root's"


def test_an_error_that_is_ones_own_stays_one(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(PermissionError):
        open_owned(tmp_path / "x", FLAGS, None, mode=0o640)
