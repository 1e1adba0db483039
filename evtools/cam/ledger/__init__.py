"""What was heard of tasks and workers, as tables of a database."""

from evtools.cam.ledger.camera import LedgerCamera
from evtools.cam.ledger.packing import needed
from evtools.cam.ledger.retention import Retention
from evtools.cam.ledger.shot import Picture
from evtools.cam.ledger.sql import Dialect, listed, quote
from evtools.cam.ledger.store import Expired, Store, Writer
from evtools.cam.ledger.tables import (
    ATTEMPTS,
    SNAPSHOTS,
    TABLES,
    TASKS,
    VERSION,
    WORKERS,
    Row,
    Stored,
    Table,
)

__all__ = [
    "ATTEMPTS",
    "SNAPSHOTS",
    "TABLES",
    "TASKS",
    "VERSION",
    "WORKERS",
    "Dialect",
    "Expired",
    "LedgerCamera",
    "Picture",
    "Retention",
    "Row",
    "Store",
    "Stored",
    "Table",
    "Writer",
    "listed",
    "needed",
    "quote",
]
