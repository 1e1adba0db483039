"""Prometheus with our rules, an Alertmanager behind it, and a hook that notes what it is sent."""

from __future__ import annotations

import json
import re
import threading
import urllib.request
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING

from servers.ports import HOST, free_port
from servers.process import Process, program, wait_until

if TYPE_CHECKING:
    from pathlib import Path

_CONFIG = """
global: {{scrape_interval: 1s, evaluation_interval: 1s}}
rule_files: [{rules}]
alerting: {{alertmanagers: [{{static_configs: [{{targets: ["{manager}"]}}]}}]}}
scrape_configs:
  - job_name: evcam
    static_configs: [{{targets: ["{target}"]}}]
"""
_ROUTES = """
route: {{receiver: hook, group_by: [alertname], group_wait: 0s, group_interval: 1s}}
receivers:
  - name: hook
    webhook_configs: [{{url: "http://{hook}/", send_resolved: true}}]
"""


class Monitoring:
    """Scrape `target` every second, by rules that are as patient as ours but in seconds."""

    def __init__(self, folder: Path, rules: Path, target: str) -> None:
        #: Names of alerts that the hook was sent, with whether they fire or are resolved.
        self.told: list[tuple[str, str]] = []
        notes = self.told

        class Hook(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                size = int(self.headers["Content-Length"])
                for alert in json.loads(self.rfile.read(size))["alerts"]:
                    notes.append((alert["labels"]["alertname"], alert["status"]))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._hook = HTTPServer((HOST, 0), Hook)
        threading.Thread(target=self._hook.serve_forever, daemon=True).start()
        self._address, manager = f"{HOST}:{free_port()}", f"{HOST}:{free_port()}"
        quick = re.sub(r"\b\d+m\b", "2s", re.sub(r"\[\d+m\]", "[20s]", rules.read_text()))
        (folder / "rules.yaml").write_text(quick)
        config, routes = folder / "prometheus.yaml", folder / "routes.yaml"
        config.write_text(
            _CONFIG.format(rules=folder / "rules.yaml", manager=manager, target=target)
        )
        routes.write_text(_ROUTES.format(hook=f"{HOST}:{self._hook.server_port}"))
        self._processes = [
            Process(
                [
                    program("prometheus-alertmanager"), f"--config.file={routes}",
                    f"--storage.path={folder / 'manager'}", f"--web.listen-address={manager}",
                    "--cluster.listen-address=",
                ],
                log=folder / "alertmanager.log", cwd=folder,
            ),
            Process(
                [
                    program("prometheus"), f"--config.file={config}",
                    f"--storage.tsdb.path={folder / 'data'}",
                    f"--web.listen-address={self._address}",
                ],
                log=folder / "prometheus.log", cwd=folder,
            ),
        ]  # fmt: skip

    def start(self) -> None:
        """Start both, and return when Prometheus answers."""
        for process in self._processes:
            process.start()
        self._processes[-1].wait_ready(lambda: bool(self.get("/-/ready")), deadline=30)

    def get(self, path: str) -> bytes:
        """Return what Prometheus answers, nothing if it does not."""
        try:
            with urllib.request.urlopen(f"http://{self._address}{path}", timeout=5) as answer:
                return bytes(answer.read())
        except OSError:
            return b""

    def wait_told(self, alert: str, status: str, *, deadline: float = 60) -> None:
        """Wait until the hook was sent that an alert is `firing`, or `resolved` after all."""

        def came() -> bool:
            last = [each for name, each in self.told if name == alert][-1:]
            return last == [status]

        wait_until(came, deadline=deadline, what=lambda: f"{alert} {status}: {self.told}")

    def end(self) -> None:
        """Leave nothing behind."""
        for process in self._processes:
            process.kill()
        self._hook.shutdown()
        self._hook.server_close()
