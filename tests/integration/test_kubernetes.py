"""The manifests for Kubernetes: its fields, and what evcam does with what they say."""

from __future__ import annotations

import signal
import sys
import types
import typing
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from pathlib import Path

import pytest
import yaml

from evtools import __version__
from evtools.cli.cam import evcam as command
from tools.site import Site, total

PACKAGED = Path(__file__).parents[2] / "packaging" / "kubernetes"
MIB = 2**20


@pytest.fixture(scope="module")
def manifests():
    """What is in each file, by its name."""
    return {path.name: yaml.safe_load(path.read_text()) for path in PACKAGED.glob("*.yaml")}


@pytest.fixture(scope="module")
def container(manifests):
    (found,) = manifests["deployment.yaml"]["spec"]["template"]["spec"]["containers"]
    return found


# --- fields ---------------------------------------------------------------------------
#
# Those of the Prometheus Operator and of Kustomize that are used here.


@dataclass
class _Endpoint:
    port: str
    path: str
    interval: str


@dataclass
class _MonitorSpec:
    selector: _Selector
    endpoints: list[_Endpoint]


@dataclass
class _Selector:
    matchLabels: dict[str, str]  # noqa: N815  (a field of Kubernetes)


@dataclass
class _Named:
    name: str
    labels: dict[str, str]


@dataclass
class _Monitor:
    apiVersion: str  # noqa: N815
    kind: str
    metadata: _Named
    spec: _MonitorSpec


@dataclass
class _Image:
    name: str
    newName: str  # noqa: N815
    newTag: str  # noqa: N815


@dataclass
class _Kustomization:
    apiVersion: str  # noqa: N815
    kind: str
    resources: list[str] = field(default_factory=list)
    images: list[_Image] = field(default_factory=list)


def kinds():
    """The class of each kind of object; those of Kubernetes are made from its own schema."""
    # Without the client that they are made for, which has ten dependencies.
    made = types.ModuleType("lightkube.core.schema")
    made.DictMixin, made.field, made.dataclass = object, field, dataclass
    sys.modules.setdefault("lightkube.core", types.ModuleType("lightkube.core"))
    sys.modules.setdefault("lightkube.core.schema", made)
    from lightkube.models import apps_v1, core_v1

    return {
        ("apps/v1", "Deployment"): apps_v1.Deployment,
        ("v1", "Service"): core_v1.Service,
        ("monitoring.coreos.com/v1", "ServiceMonitor"): _Monitor,
        ("kustomize.config.k8s.io/v1beta1", "Kustomization"): _Kustomization,
    }


def problems(kind, value, where=""):
    """Yield which fields a value has that its class does not know, or lacks, or has odd."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        found = [[*problems(each, value, where)] for each in arguments if each is not type(None)]
        yield from min(found, key=len)
    elif is_dataclass(kind) and isinstance(value, dict):
        hints = typing.get_type_hints(kind)
        needed = {
            each.name for each in fields(kind)
            if each.default is MISSING and each.default_factory is MISSING
        }  # fmt: skip
        yield from (f"{where}.{name}: is not known" for name in value.keys() - hints.keys())
        yield from (f"{where}.{name}: is missing" for name in needed - value.keys())
        for name in value.keys() & hints.keys():
            yield from problems(hints[name], value[name], f"{where}.{name}")
    elif origin is list and isinstance(value, list):
        for number, each in enumerate(value):
            yield from problems(arguments[0], each, f"{where}[{number}]")
    elif origin is dict and isinstance(value, dict):
        for name, each in value.items():
            yield from problems(arguments[1], each, f"{where}.{name}")
    elif origin or is_dataclass(kind) or type(value) is not kind:
        yield f"{where}: {value!r} is no {kind}"


def test_all_fields_are_those_of_kubernetes(manifests):
    known = kinds()
    for name, manifest in manifests.items():
        kind = known[manifest["apiVersion"], manifest["kind"]]
        assert list(problems(kind, manifest, name)) == []
    broken = yaml.safe_load(yaml.safe_dump(manifests["deployment.yaml"]))
    (container,) = broken["spec"]["template"]["spec"]["containers"]
    container["livenessProbe"]["httpget"] = container["livenessProbe"].pop("httpGet")
    container["ports"][0]["containerPort"] = "9808"
    del container["name"]
    place = "x.spec.template.spec.containers[0]"
    assert sorted(problems(known["apps/v1", "Deployment"], broken, "x")) == [
        f"{place}.livenessProbe.httpget: is not known", f"{place}.name: is missing",
        f"{place}.ports[0].containerPort: '9808' is no <class 'int'>",
    ]  # fmt: skip


def test_they_belong_together(manifests, container):
    kustomization = manifests["kustomization.yaml"]
    text = (PACKAGED / "kustomization.yaml").read_text()
    # The one that needs the Prometheus Operator is for whoever has it.
    listed = {*kustomization["resources"], "servicemonitor.yaml", "kustomization.yaml"}
    assert {*manifests} == listed
    assert "# - servicemonitor.yaml" in text
    (image,) = kustomization["images"]
    assert image["name"] == container["image"] == "evtools"
    # That of this release, or of the one that is being made.
    assert numbers(image["newTag"]) >= numbers(__version__)
    deployment, service = manifests["deployment.yaml"], manifests["service.yaml"]
    monitor = manifests["servicemonitor.yaml"]["spec"]
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    assert deployment["spec"]["selector"]["matchLabels"].items() <= labels.items()
    assert service["spec"]["selector"].items() <= labels.items()
    assert monitor["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    (port,), (served,), (scraped,) = container["ports"], service["spec"]["ports"], (
        monitor["endpoints"]
    )  # fmt: skip
    assert port["name"] == served["targetPort"]
    assert served["name"] == scraped["port"]


def numbers(version):
    return tuple(int(part) for part in version.split(".")[:3])


# --- what they start ------------------------------------------------------------------


def test_the_container_may_do_little_and_has_room_for_what_evcam_takes(manifests, container):
    pod = manifests["deployment.yaml"]["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"]
    assert not pod["automountServiceAccountToken"]
    assert not pod["enableServiceLinks"]
    security = container["securityContext"]
    assert security == {
        "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }  # fmt: skip
    with command.make_context("evcam", []) as ctx:
        values = ctx.params
    assert pod["terminationGracePeriodSeconds"] >= values["shutdown_timeout"] + 10
    limit = container["resources"]["limits"]["memory"]
    assert int(limit.removesuffix("Mi")) * MIB >= (
        values["max_memory"] + values["buffer_size"] + 200 * MIB
    )


def test_evcam_runs_as_it_is_started_there_and_answers_the_probes(
    manifests, container, evcam, redis_url, tmp_path
):
    pod = manifests["deployment.yaml"]["spec"]["template"]["spec"]
    (volume,), (mount,) = pod["volumes"], container["volumeMounts"]
    assert volume["name"] == mount["name"]
    # As the comment of the kustomization has the Secret made.
    text = (PACKAGED / "kustomization.yaml").read_text()
    name = volume["secret"]["secretName"]
    assert f"kubectl create secret generic {name} --from-file=broker_url" in text
    site = Site()
    (tmp_path / "broker_url").write_text(redis_url)
    (port,) = container["ports"]
    word, *arguments = [
        each.replace(mount["mountPath"], str(tmp_path)).replace(
            f"*:{port['containerPort']}", site.address
        )
        for each in container["args"]
    ]
    assert word == "cam"
    assert f"--broker=@{tmp_path}/broker_url" in arguments
    assert f"--listen={site.address}" in arguments
    running = evcam(*arguments)
    running.wait_ready()
    site.wait_value("celery_worker_up", 0)
    for probe in ("livenessProbe", "readinessProbe"):
        asked = container[probe]["httpGet"]
        assert asked["port"] == port["name"]
        assert site.get(asked["path"])[0] == 200
    (scraped,) = manifests["servicemonitor.yaml"]["spec"]["endpoints"]
    assert total(site.get(scraped["path"])[1], "evcam_connected") == 1
    assert running.stop(signal.SIGTERM) == 0, running.stderr
