"""Databases that nobody has used."""

import pytest


@pytest.fixture
def file(tmp_path):
    return tmp_path / "ledger.db"


@pytest.fixture(params=["sqlite", "postgres"])
def database(request, file):
    """Return the file of SQLite, or the URL of PostgreSQL."""
    return file if request.param == "sqlite" else request.getfixturevalue("postgres_url")
