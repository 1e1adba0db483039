import json

from evtools.doctor.app import run
from evtools.doctor.options import DoctorOptions
from evtools.transport import ConnectionSettings
from servers.ports import HOST, free_port


def test_the_status_is_that_of_the_worst_finding(capsys):
    url = f"redis://{HOST}:{free_port()}/0"
    options = DoctorOptions(output="json")
    assert run(options, ConnectionSettings(urls=url)) == 4
    assert json.loads(capsys.readouterr().out)["worst"] == "problem"


def test_the_walk_leaves_the_broker(capsys, redis_url):
    options = DoctorOptions(wait=0.2)
    settings = ConnectionSettings(urls=redis_url, read_only=True)
    assert run(options, settings) == 4
    assert "nothing arrived" in capsys.readouterr().out
