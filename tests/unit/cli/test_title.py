import setproctitle

from evtools.cli.title import hide_secrets


def test_the_password_leaves_the_process_list(monkeypatch):
    titles = []
    monkeypatch.setattr(setproctitle, "setproctitle", titles.append)
    hide_secrets(["evdump", "-b", "redis://:s3kr1t@h/0"], "redis://:s3kr1t@h/0")
    assert titles == ["evdump -b redis://:**@h/0"]


def test_other_secrets_leave_it_too(monkeypatch):
    titles = []
    monkeypatch.setattr(setproctitle, "setproctitle", titles.append)
    words = ["evcam", "-c", "postgres:x://u:one@h", "--camera-option", "password=two"]
    hide_secrets(words, "redis://h", ["one", "", "two"])
    assert titles == ["evcam -c postgres:x://u:**@h --camera-option password=**"]


def test_a_password_in_a_command_leaves_it(monkeypatch):
    titles = []
    monkeypatch.setattr(setproctitle, "setproctitle", titles.append)
    command = "vault read --token s3kr1t http://me:s3kr1t@vault/"
    hide_secrets(["evdump", "--broker-command", command], "redis://h")
    assert titles == ["evdump --broker-command vault read --token ** http://**@vault/"]


def test_a_title_without_password_stays(monkeypatch):
    titles = []
    monkeypatch.setattr(setproctitle, "setproctitle", titles.append)
    hide_secrets(["evdump", "-b", "@file"], "redis://:s3kr1t@h/0")
    hide_secrets(["evdump", "-b", "redis://h"], "redis://h")
    assert titles == []
