"""A camera that writes tables into a file, for any tool that reads SQLite."""

from pathlib import Path
from typing import Any

from evtools.cam.camera_options import Seconds
from evtools.cam.ledger import LedgerCamera
from evtools.cam.ledger.sqlite import SQLiteStore
from evtools.state import State


class SQLite(LedgerCamera):
    """Write into the file `path`, which is made if it is not there.

    A lock of another program is waited for as long as `busy_timeout`.
    """

    def __init__(
        self, state: State, *, path: Path, busy_timeout: Seconds = 5.0, **others: Any
    ) -> None:
        super().__init__(state, **others)
        self.store = SQLiteStore(path, busy_timeout=busy_timeout)
