"""Where an evcam listens, and what it tells there."""

from __future__ import annotations

import urllib.error
import urllib.request
from typing import TYPE_CHECKING

from prometheus_client.parser import text_string_to_metric_families

from servers.ports import HOST, free_port
from servers.process import PATIENCE, wait_until

if TYPE_CHECKING:
    from prometheus_client.samples import Sample


class Site:
    """Where an evcam listens."""

    def __init__(self) -> None:
        self.address = f"{HOST}:{free_port()}"

    def get(self, path: str, **headers: str) -> tuple[int, str]:
        """Return status and body; 0 if nobody listens."""
        request = urllib.request.Request(f"http://{self.address}{path}")
        for name, value in headers.items():
            request.add_header(name, value)
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE) as response:
                return response.status, response.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def metrics(self) -> str:
        """Return all metrics."""
        return self.get("/metrics")[1]

    def value(self, name: str, **labels: str) -> float | None:
        """Return the sum of all series with these labels, None if there are none."""
        return total(self.metrics(), name, **labels)

    def wait_ready(self, status: int = 200) -> None:
        """Wait until /readyz answers like this."""
        wait_until(
            lambda: self.get("/readyz")[0] == status,
            what=lambda: f"/readyz to be {status}, it is {self.get('/readyz')}",
        )

    def wait_value(
        self, name: str, wanted: float | None, *, deadline: float = PATIENCE, **labels: str
    ) -> None:
        """Wait until the sum of all series with these labels is as wanted."""
        wait_until(
            lambda: self.value(name, **labels) == wanted,
            deadline=deadline,
            what=lambda: f"{name} to be {wanted}:\n{self.metrics()}",
        )

    def wait_least(self, name: str, least: float, **labels: str) -> None:
        """Wait until the sum of all series with these labels is so large."""
        wait_until(
            lambda: (self.value(name, **labels) or 0) >= least,
            what=lambda: f"{name} to be {least} or more:\n{self.metrics()}",
        )


def samples(text: str) -> list[Sample]:
    """Return all series in a text."""
    return [sample for family in text_string_to_metric_families(text) for sample in family.samples]


def total(text: str, name: str, **labels: str) -> float | None:
    """Return the sum of all series with these labels, None if there are none."""
    found = [
        sample.value
        for sample in samples(text)
        if sample.name == name and labels.items() <= sample.labels.items()
    ]
    return sum(found) if found else None
