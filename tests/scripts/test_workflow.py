"""What the workflow of a release calls is there, and it installs what that takes."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml

import interpreter

ROOT = Path(__file__).resolve().parents[2]
# On every ubuntu runner, as a part of the system or with its compilers.
ON_THE_RUNNER = {"apt", "binutils", "make", "patch", "perl", "util-linux"}


@pytest.fixture(scope="module")
def steps():
    path = ROOT / ".github" / "workflows" / "release.yml"
    workflow = yaml.safe_load(path.read_text())
    (job,) = workflow["jobs"].values()
    return job["steps"]


def lines(steps):
    return [step["run"] for step in steps if "run" in step]


def settings(steps, action):
    (found,) = [step for step in steps if step.get("uses", "").startswith(action)]
    return found["with"]


def test_every_target_is_one_of_the_makefile(steps):
    makefile = (ROOT / "Makefile").read_text()
    called = "\n".join(lines(steps))
    targets = re.findall(r"^(?:sudo )?make (\w+)$", called, re.MULTILINE)
    assert targets == ["release", "smoke"]
    for target in targets:
        assert re.search(rf"^{target}:.*## ", makefile, re.MULTILINE), target


def test_what_a_release_is_built_with_is_installed_before(steps):
    needed = {each for value in interpreter.NEEDED.values() for each in value.split()}
    (install,) = [line for line in lines(steps) if "apt-get install" in line]
    installed = set(install.partition("install -y ")[2].split())
    assert needed - installed == ON_THE_RUNNER
    assert installed <= needed
    called = lines(steps)
    assert called.index(install) < called.index("make release")


def test_what_is_tried_is_what_was_built(steps):
    called = lines(steps)
    assert called.index("make release") < called.index("sudo make smoke")
    assert not any("SMOKE_" in line for line in called)
    assert settings(steps, "actions/upload-artifact")["path"] == "dist/"


def test_the_cache_is_the_one_that_the_build_looks_into(steps, monkeypatch, tmp_path):
    cache = settings(steps, "actions/cache@")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert Path(cache["path"]).expanduser() == interpreter.cache_folder({})
    hashed = re.findall(r"'([^']+)'", cache["key"])
    assert {ROOT / name for name in hashed} == set(interpreter.INPUTS)


def test_its_python_is_one_that_we_support(steps):
    version = settings(steps, "actions/setup-python")["python-version"]
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    least = wanted["requires-python"].removeprefix(">=")
    assert [int(part) for part in version.split(".")] >= [int(part) for part in least.split(".")]


def test_the_notes_of_a_release_are_there(steps):
    (publish,) = [line for line in lines(steps) if "gh release create" in line]
    assert (ROOT / re.search(r"--notes-file (\S+)", publish)[1]).is_file()
    assert "dist/*" in publish
