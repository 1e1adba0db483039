"""Prometheus with our rules, an Alertmanager behind it, and a hook that notes what it is sent."""

from __future__ import annotations

import json
import re
import threading
import urllib.request
from functools import partial
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING
from urllib.error import HTTPError

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
        #: By alert: how many of these were looked at.
        self._looked_at: dict[str, int] = {}
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
        address, manager = f"{HOST}:{free_port()}", f"{HOST}:{free_port()}"
        quick = re.sub(r"\b\d+m\b", "2s", re.sub(r"\[\d+m\]", "[20s]", rules.read_text()))
        (folder / "rules.yaml").write_text(quick)
        config, routes = folder / "prometheus.yaml", folder / "routes.yaml"
        config.write_text(
            _CONFIG.format(rules=folder / "rules.yaml", manager=manager, target=target)
        )
        routes.write_text(_ROUTES.format(hook=f"{HOST}:{self._hook.server_port}"))
        self._processes = {
            manager: Process(
                [
                    program("prometheus-alertmanager"), f"--config.file={routes}",
                    f"--storage.path={folder / 'manager'}", f"--web.listen-address={manager}",
                    "--cluster.listen-address=",
                ],
                log=folder / "alertmanager.log", cwd=folder,
            ),
            address: Process(
                [
                    program("prometheus"), f"--config.file={config}",
                    f"--storage.tsdb.path={folder / 'data'}",
                    f"--web.listen-address={address}",
                ],
                log=folder / "prometheus.log", cwd=folder,
            ),
        }  # fmt: skip

    def start(self) -> None:
        """Start both, and return when they answer, Alertmanager first.

        What Prometheus could not send it is sent again a minute later.
        """
        for address, process in self._processes.items():
            process.start()
            process.wait_ready(partial(_is_ready, address), deadline=30)

    def wait_told(self, alert: str, status: str, *, deadline: float = 60) -> None:
        """Wait until the hook was sent that an alert is `firing`, or then that it is `resolved`."""
        begin = self._looked_at.get(alert, 0)

        def came() -> bool:
            # By now it may have changed again.
            return (alert, status) in self.told[begin:]

        wait_until(came, deadline=deadline, what=lambda: f"{alert} {status}: {self.told}")
        self._looked_at[alert] = self.told.index((alert, status), begin) + 1

    def end(self) -> None:
        """Leave nothing behind."""
        for process in self._processes.values():
            process.kill()
        self._hook.shutdown()
        self._hook.server_close()


def _is_ready(address: str) -> bool:
    try:
        urllib.request.urlopen(f"http://{address}/-/ready", timeout=5).close()
    except HTTPError as error:
        error.close()
        return False
    except OSError:
        return False
    return True
