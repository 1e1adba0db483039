"""ClickHouse: Debian's old server, and the engine of today behind a small HTTP server."""

from __future__ import annotations

import itertools
import json
import shutil
import socket
import sys
import tempfile
import urllib.request
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.error import HTTPError, URLError
from urllib.parse import quote

from servers.ports import HOST, free_port
from servers.process import Process, program

if TYPE_CHECKING:
    from servers.tls import Authority

ROOT = Path(__file__).parents[2]
#: Where scripts/servers.sh puts the engine.
ENGINE = ROOT / ".venv" / "chdb" / "chdb"

_ZOOKEEPER = Path("/usr/share/java/zookeeper.jar")
_ZOOKEEPER_MAIN = "org.apache.zookeeper.server.ZooKeeperServerMain"

USER, PASSWORD = "evcam", "p@ss/w:rd é"

_CONFIG = """<yandex>
 <logger><level>warning</level><console>1</console></logger>
 <http_port>{port}</http_port><listen_host>{host}</listen_host>
 <path>{folder}/data/</path><tmp_path>{folder}/tmp/</tmp_path>
 <user_files_path>{folder}/files/</user_files_path>
 <users_config>users.xml</users_config><default_profile>default</default_profile>
 <default_database>default</default_database><mark_cache_size>67108864</mark_cache_size>
 <timezone>America/St_Johns</timezone>
{more}</yandex>
"""
_TLS = """ <https_port>{port}</https_port>
 <openSSL><server><certificateFile>{cert}</certificateFile><privateKeyFile>{key}</privateKeyFile>
  <verificationMode>none</verificationMode></server></openSSL>
"""
#: Of a replica of the cluster `site`.
_CLUSTER = """ <tcp_port>{tcp}</tcp_port><interserver_http_port>{between}</interserver_http_port>
 <interserver_http_host>{host}</interserver_http_host>
 <remote_servers><site>{shards}</site></remote_servers>
 <zookeeper><node><host>{host}</host><port>{zookeeper}</port></node>
  <session_timeout_ms>10000</session_timeout_ms></zookeeper>
 <macros><shard>{shard}</shard><replica>r{number}</replica><cluster>site</cluster></macros>
 <distributed_ddl><path>/clickhouse/ddl</path></distributed_ddl>
"""
_SHARD = "<shard><internal_replication>true</internal_replication>{replicas}</shard>"
_REPLICA = "<replica><host>{host}</host><port>{tcp}</port></replica>"
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
    """A ClickHouse on a port that stays the same; `is_modern` for the engine of today.

    Debian's has a port for TLS as well, if there is an `authority`, and `more` in its settings.
    """

    def __init__(
        self, *, is_modern: bool = False, authority: Authority | None = None, more: str = ""
    ) -> None:
        self.is_modern = is_modern
        self.tls_port = free_port() if authority else 0
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
            if authority is not None:
                cert, key = authority.server.cert, authority.server.key
                more += _TLS.format(port=self.tls_port, cert=cert, key=key)
            values = {"port": self.port, "host": HOST, "folder": self.folder, "more": more}
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

    def tls_url(self, database: str, login: str = "") -> str:
        """Return the URL of a database over TLS."""
        return f"https://{login}{HOST}:{self.tls_port}/{database}"

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


class ClickHouseCluster:
    """The cluster `site`, and the ZooKeeper by which its servers agree.

    It has shards of so many replicas; all of them, in this order, are in `replicas`.
    """

    def __init__(self, *shards: int) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="evtools-zk-"))
        port, ports = free_port(), [[free_port() for _ in range(count)] for count in shards]
        (self.folder / "zoo.cfg").write_text(
            f"tickTime=2000\ndataDir={self.folder}/data\nclientPort={port}\n"
            f"clientPortAddress={HOST}\nadmin.enableServer=false\n"
        )
        argv = [program("java"), "-cp", str(_ZOOKEEPER), "-Xmx256m", _ZOOKEEPER_MAIN]
        log = self.folder / "log"
        self.zookeeper = Process([*argv, str(self.folder / "zoo.cfg")], log=log, cwd=self.folder)
        self._zookeeper_port = port
        each = ["".join(_REPLICA.format(host=HOST, tcp=tcp) for tcp in shard) for shard in ports]
        every = "".join(_SHARD.format(replicas=replicas) for replicas in each)
        self.replicas = [
            ClickHouseServer(
                more=_CLUSTER.format(
                    host=HOST, tcp=tcp, between=free_port(), shards=every, zookeeper=port,
                    shard=shard, number=number,
                )
            )
            for shard, replicas in enumerate(ports, 1)
            for number, tcp in enumerate(replicas, 1)
        ]  # fmt: skip

    @staticmethod
    def is_installed() -> bool:
        """Return whether there is a ZooKeeper."""
        return _ZOOKEEPER.exists() and shutil.which("java") is not None

    def start(self) -> None:
        """Start all, and return when they answer."""
        self.zookeeper.start()
        self.zookeeper.wait_ready(self._is_open, deadline=60)
        for replica in self.replicas:
            replica.start()

    def _is_open(self) -> bool:
        # Before it serves, it takes connections and ends them.
        with (
            suppress(OSError),
            socket.create_connection((HOST, self._zookeeper_port), timeout=2) as asking,
        ):
            asking.sendall(b"srvr")
            return b"Mode: standalone" in asking.recv(4096)
        return False

    def end(self) -> None:
        """Leave nothing behind."""
        for replica in self.replicas:
            replica.end()
        self.zookeeper.kill()
        shutil.rmtree(self.folder)


def login() -> str:
    """Return USER:PASSWORD@ as in a URL."""
    return f"{USER}:{quote(PASSWORD, safe='')}@"
