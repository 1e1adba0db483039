import re
import subprocess
import tomllib

import binary


def test_a_commit_has_a_name_and_a_date(tmp_path):
    git = ["git", "-C", str(tmp_path), "-c", "user.name=x", "-c", "user.email=x@y.z"]
    subprocess.run([*git, "init", "-q"], check=True)
    (tmp_path / "file").write_text("1")
    subprocess.run([*git, "add", "file"], check=True)
    when = ["--date=@1000000000", "-q", "-m", "one"]
    env = {"GIT_COMMITTER_DATE": "@1000000000 +0000", "PATH": "/usr/bin:/bin"}
    subprocess.run([*git, "commit", *when], check=True, env=env)
    found = binary.commit(tmp_path)
    assert re.fullmatch("[0-9a-f]{12}", found.name)
    assert found.date == 1_000_000_000
    (tmp_path / "file").write_text("2")
    assert binary.commit(tmp_path).name == f"{found.name}-dirty"


def test_sources_without_a_repository_have_a_commit_all_the_same(tmp_path):
    assert binary.commit(tmp_path).name == "unknown"


def test_every_run_time_dependency_is_pinned():
    settings = tomllib.loads((binary.ROOT / "pyproject.toml").read_text())
    wanted = {re.split(r"[\[<>=]", each)[0] for each in settings["project"]["dependencies"]}
    pins = re.findall(r"^([\w-]+)==", binary.REQUIREMENTS.read_text(), re.MULTILINE)
    assert wanted <= set(pins)
    assert pins == sorted(pins)


def test_another_python_takes_the_versions_without_the_hashes(tmp_path):
    text = binary._versions(tmp_path).read_text()
    assert "--hash" not in text
    assert "\\" not in text
    assert re.search(r"^urwid==[\d.]+$", text, re.MULTILINE)
