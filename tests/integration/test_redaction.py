"""Secrets, in every output of every tool."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING

import pytest

from evtools.dump.options import OUTPUTS
from evtools.top.options import OUTPUTS as OUTPUTS_OF_EVTOP
from evtools.top.options import VIEWS
from tools.command import installed

if TYPE_CHECKING:
    from pathlib import Path

SECRET = "S3cr3t"
_FROM = {"hostname": "celery@w", "uuid": "u1", "pid": 7, "clock": 1, "utcoffset": 0}
_TEXTS = (
    f"{{'password': '{SECRET}', 'user': 'b'}}",
    f"password={SECRET}, user=b",
    f"Login(user='b', password='{SECRET}')",
    f"https://h/?user=b&password={SECRET}",
    f"Password: Bearer {SECRET}",
    json.dumps({"body": json.dumps({"password": SECRET})}),
)


def events() -> list[dict[str, object]]:
    made: list[dict[str, object]] = []
    for number, text in enumerate(_TEXTS):
        task = {**_FROM, "uuid": f"u{number}", "name": "shop.pay"}
        moment = 1_800_000_000 + number
        fail = {"exception": f"E({text!r})", "traceback": f"Traceback:\nE: {text}\n"}
        made += [
            {**task, "type": "task-received", "args": text, "kwargs": text}
            | {"timestamp": moment, "local_received": moment},
            {**task, "type": "task-failed", **fail}
            | {"timestamp": moment, "local_received": moment},
            {**task, "uuid": f"s{number}", "type": "task-succeeded", "result": text}
            | {"runtime": 1.0, "timestamp": moment, "local_received": moment},
            {**_FROM, "type": "shop-order", "own": {"password": SECRET, "x": [text]}}
            | {"timestamp": moment, "local_received": moment},
        ]
    return made


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recording") / "rec.jsonl"
    lines = [json.dumps(event) for event in events()]
    # What can be read of these is for nobody, either.
    lines += [f'{{"password": "{SECRET}"}}', f'{{"type": "a", "password": "{SECRET}']
    path.write_text("\n".join(lines) + "\n")
    return path


def run(*words: str | Path) -> bytes:
    done = subprocess.run(
        [installed(str(words[0])), *map(str, words[1:]), "--redact", "password"],
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout or b"left out" in done.stderr
    return done.stdout + done.stderr


@pytest.mark.parametrize("output", [name for name in OUTPUTS if name != "template"])
def test_no_output_of_evdump_has_a_secret(recording, tmp_path, output):
    copy = tmp_path / "copy.jsonl"
    said = run("evdump", "-r", recording, "-w", copy, "--print", "-v", "-o", output)
    assert b"shop.pay" in said
    assert b"left out: no type: " in said
    assert SECRET.encode() not in said
    assert SECRET not in copy.read_text()


def looked_at(recording, view, output):
    said = run("evtop", "-B", "-r", recording, "--view", view, "-o", output)
    assert SECRET.encode() not in said
    return said


@pytest.mark.parametrize("view", VIEWS)
def test_no_view_of_evtop_has_a_secret(recording, view):
    looked_at(recording, view, "json")


@pytest.mark.parametrize("output", OUTPUTS_OF_EVTOP)
def test_no_output_of_evtop_has_a_secret(recording, output):
    assert b"shop.pay" in looked_at(recording, "tasks", output)


@pytest.mark.parametrize("camera", ["jsonl", "sqlite"])
def test_no_camera_stores_a_secret(recording, tmp_path, camera):
    store = tmp_path / "store"
    run("evcam", "-c", f"{camera}:{store}", "--read", recording)
    stored = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert b"shop.pay" in stored
    assert SECRET.encode() not in stored
