"""ClickHouse: Debian's old server, and the engine of today behind a small HTTP server."""

from __future__ import annotations

import itertools
import json
import shutil
import sys
import tempfile
import urllib.request
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import quote

from servers.ports import HOST, free_port
from servers.process import Process, program

ROOT = Path(__file__).parents[2]
#: Where scripts/servers.sh puts the engine.
ENGINE = ROOT / ".venv" / "chdb" / "chdb"

USER, PASSWORD = "evcam", "p@ss/w:rd é"

_CONFIG = """<yandex>
 <logger><level>warning</level><console>1</console></logger>
 <http_port>{port}</http_port><listen_host>{host}</listen_host>
 <path>{folder}/data/</path><tmp_path>{folder}/tmp/</tmp_path>
 <user_files_path>{folder}/files/</user_files_path>
 <users_config>users.xml</users_config><default_profile>default</default_profile>
 <default_database>default</default_database><mark_cache_size>67108864</mark_cache_size>
 <timezone>America/St_Johns</timezone>
</yandex>
"""
_USERS = f"""<yandex><profiles><default/><reader><readonly>1</readonly></reader></profiles>
<users>
 <default><password/><networks><ip>{HOST}</ip></networks>
  <profile>default</profile><quota>default</quota></default>
 <{USER}><password>{PASSWORD}</password><networks><ip>{HOST}</ip></networks>
  <profile>default</profile><quota>default</quota></{USER}>
 <reader><password/><networks><ip>{HOST}</ip></networks>
  <profile>reader</profile><quota>default</quota></reader>
</users><quotas><default/></quotas></yandex>
"""


class ClickHouseServer:
    """A ClickHouse on a port that stays the same; `is_modern` for the engine of today."""

    def __init__(self, *, is_modern: bool = False) -> None:
        self.is_modern = is_modern
        self.folder = Path(tempfile.mkdtemp(prefix="evtools-ch-"))
        self.port = free_port()
        self._names = itertools.count(1)
        for name in ("data", "tmp", "files"):
            (self.folder / name).mkdir()
        if is_modern:
            assert ENGINE.exists(), f"{ENGINE} is not there: `make servers` installs it"
            script = str(Path(__file__).with_name("chdb_http.py"))
            argv = [sys.executable, script, str(ENGINE), str(self.folder / "data"), str(self.port)]
        else:
            values = {"port": self.port, "host": HOST, "folder": self.folder}
            (self.folder / "config.xml").write_text(_CONFIG.format(**values))
            (self.folder / "users.xml").write_text(_USERS)
            argv = [
                program("clickhouse-server", "/usr/sbin"),
                f"--config-file={self.folder / 'config.xml'}",
            ]
        self.process = Process(argv, log=self.folder / "log", cwd=self.folder)

    def start(self) -> None:
        """Start, and return when it answers."""
        self.process.start()
        self.process.wait_ready(self._answers, deadline=30)

    def _answers(self) -> bool:
        try:
            return self.ask("SELECT 1") == [[1]]
        except (URLError, OSError):
            return False

    def url(self, database: str, login: str = "") -> str:
        """Return the URL of a database; `login` is USER:PASSWORD@."""
        return f"http://{login}{HOST}:{self.port}/{database}"

    def fresh_url(self) -> str:
        """Return the URL of a database that is not there."""
        return self.url(f"test{next(self._names)}")

    def ask(self, question: str) -> list[list[Any]]:
        """Return the rows that answer a question, or [] to a command."""
        query = f"{question} FORMAT JSONCompact" if question[:6] == "SELECT" else question
        url = f"http://{HOST}:{self.port}/?output_format_json_quote_64bit_integers=0"
        try:
            with urllib.request.urlopen(url, query.encode(), timeout=60) as answer:
                body = answer.read()
        except HTTPError as error:
            raise AssertionError(error.read().decode()) from None
        return json.loads(body)["data"] if query is not question else []

    def freeze(self) -> None:
        """Stop it from answering; connections stay open."""
        self.process.freeze()

    def thaw(self) -> None:
        """Let it answer again."""
        self.process.thaw()

    def stop(self) -> None:
        """Shut it down."""
        self.process.stop()

    def end(self) -> None:
        """Leave nothing behind."""
        self.process.kill()
        shutil.rmtree(self.folder)


def login() -> str:
    """Return USER:PASSWORD@ as in a URL."""
    return f"{USER}:{quote(PASSWORD, safe='')}@"
