"""Databases that nobody has used."""

import pytest


@pytest.fixture
def file(tmp_path):
    return tmp_path / "ledger.db"
