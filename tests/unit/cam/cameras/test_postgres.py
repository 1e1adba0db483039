import pytest

from evtools.cam.cameras.postgres import Postgres
from evtools.cam.loader import load_camera
from evtools.errors import UsageError
from evtools.state import State
from tools.ledgers import imported_late


def made(name, **options):
    return load_camera(name, options=options)(State(), timer=object())


def test_a_url_is_taken_as_it_is():
    camera = made("postgres:postgresql://me:secret@db/ops?sslmode=require&port=7")
    assert isinstance(camera, Postgres)
    assert camera.describe() == ("PostgreSQL host=db port=7 dbname=ops user=me schema=evcam")


def test_the_environment_may_say_it_all():
    assert made("postgres").describe() == "PostgreSQL schema=evcam"


def test_its_options_are_given_apart():
    camera = made(
        "postgres", url="host=db", schema="watch", connect_timeout="1s", timeout="2s", keep="1d"
    )
    assert camera.describe() == "PostgreSQL host=db schema=watch"
    assert camera.retention.keep == 86_400.0
    with pytest.raises(UsageError, match="is no schema"):
        made("postgres", schema="a b")


def test_all_it_needs_is_imported_when_it_is_made(postgres_server):
    database = postgres_server.fresh_database()
    postgres_server.make_role(database, owns="evcam")
    url = postgres_server.tcp_url(database).replace("127.0.0.1", "localhost")
    assert imported_late(f"postgres:{url}") == []
