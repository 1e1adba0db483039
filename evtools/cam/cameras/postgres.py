"""A camera that writes tables into PostgreSQL."""

from typing import Any

from evtools.cam.camera_options import Seconds
from evtools.cam.ledger import LedgerCamera
from evtools.cam.ledger.postgres import PostgresStore
from evtools.state import State


class Postgres(LedgerCamera):
    """Write into the `schema` of a database, which several evcams may share.

    `url` is as psql takes it, or @FILE; without one the environment says where.
    Connecting may take `connect_timeout`, and a statement `timeout`.
    """

    def __init__(
        self,
        state: State,
        *,
        url: str = "",
        schema: str = "evcam",
        connect_timeout: Seconds = 10.0,
        timeout: Seconds = 30.0,
        **others: Any,
    ) -> None:
        super().__init__(state, **others)
        self.store = PostgresStore(
            url, schema=schema, connect_timeout=connect_timeout, timeout=timeout
        )
