"""What is shipped for containers and clusters: valid by Kubernetes' own schemas, and true of this code."""

from __future__ import annotations

import inspect
import re
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_type_hints

import jsonschema
import pytest
import yaml
from packaging.utils import canonicalize_name

from tunesmith import __file__ as package
from tunesmith.cli_service import verbs
from tunesmith.parts import installed_parts
from tunesmith.service.ray_engine import LOCAL_ENVIRONMENT
from tunesmith.service.serving import Settings
from tunesmith.service_arguments import Address, Elastic, Strength

ROOT = Path(package).parents[2]
DEPLOY = ROOT / "deploy"
MANIFESTS = ("kubernetes.yaml", "kuberay.yaml")
LOCK = DEPLOY / "requirements.lock"
CONTAINERFILE = (DEPLOY / "Containerfile").read_text(encoding="utf-8")
OPTIONS = {"--root", "--state", "--drain", "--backend"} | {
    f"--{name.replace('_', '-')}" for group in (Address, Strength, Elastic) for name in get_type_hints(group)
}

POD_GROUP = {
    "type": "object",
    "required": ["rayStartParams", "template"],
    "additionalProperties": False,
    "properties": {
        "rayStartParams": {"type": "object", "additionalProperties": {"type": "string"}},
        "template": {"type": "object", "required": ["spec"]},
    },
}
RAY_CLUSTER = {
    "type": "object",
    "required": ["apiVersion", "kind", "metadata", "spec"],
    "additionalProperties": False,
    "properties": {
        "apiVersion": {"const": "ray.io/v1"},
        "kind": {"const": "RayCluster"},
        "metadata": {"type": "object", "required": ["name"]},
        "spec": {
            "type": "object",
            "required": ["rayVersion", "headGroupSpec", "workerGroupSpecs"],
            "additionalProperties": False,
            "properties": {
                "rayVersion": {"type": "string"},
                "enableInTreeAutoscaling": {"type": "boolean"},
                "autoscalerOptions": {"type": "object"},
                "headGroupSpec": POD_GROUP,
                "workerGroupSpecs": {
                    "type": "array",
                    "items": {
                        **POD_GROUP,
                        "required": ["groupName", "rayStartParams", "template"],
                        "properties": {
                            **POD_GROUP["properties"],  # type: ignore[dict-item]
                            "groupName": {"type": "string"},
                            **{name: {"type": "integer"} for name in ("replicas", "minReplicas", "maxReplicas")},
                        },
                    },
                },
            },
        },
    },
}
"""The fields of KubeRay's RayCluster (ray.io/v1) that are used; its pods are looked at by Kubernetes' own schema."""


def documents(name: str) -> list[dict[str, Any]]:
    return [one for one in yaml.safe_load_all((DEPLOY / name).read_text(encoding="utf-8")) if one]


def groups(cluster: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [cluster["spec"]["headGroupSpec"], *cluster["spec"]["workerGroupSpecs"]]


def pods() -> Iterator[dict[str, Any]]:
    """The specification of every pod."""
    for name in MANIFESTS:
        for one in documents(name):
            if one["kind"] == "Deployment":
                yield one["spec"]["template"]["spec"]
            elif one["kind"] == "RayCluster":
                yield from (group["template"]["spec"] for group in groups(one))


def services() -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Every container that serves, with its pod."""
    for pod in pods():
        yield from ((one, pod) for one in pod["containers"] if "serve" in one.get("args", ()))


@pytest.mark.parametrize("name", MANIFESTS)
def test_manifests_are_valid(name: str) -> None:
    kubernetes_validate = pytest.importorskip("kubernetes_validate")
    assert documents(name)
    for one in documents(name):
        if one["kind"] == "RayCluster":
            jsonschema.validate(one, RAY_CLUSTER)
            checked = [
                {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}, "spec": group["template"]["spec"]}
                for group in groups(one)
            ]
        else:
            checked = [one]
        for each in checked:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)  # the package's own
                kubernetes_validate.validate(each, "1.33", strict=True)


def test_a_wrong_manifest_is_not_valid() -> None:
    kubernetes_validate = pytest.importorskip("kubernetes_validate")
    deployment = next(one for one in documents("kubernetes.yaml") if one["kind"] == "Deployment")
    deployment["spec"]["template"]["spec"]["containers"][0]["prots"] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        with pytest.raises(kubernetes_validate.ValidationError):
            kubernetes_validate.validate(deployment, "1.33", strict=True)


def test_the_schema_of_ray_clusters_notices_a_wrong_one() -> None:
    (cluster,) = (one for one in documents("kuberay.yaml") if one["kind"] == "RayCluster")
    cluster["spec"]["workerGroupSpecs"][0]["rayStartParams"]["num-cpus"] = 0  # must be a string
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(cluster, RAY_CLUSTER)


def test_probes_ports_and_options_are_those_of_the_code() -> None:
    routes = (Path(package).parent / "service" / "operation_routes.py").read_text(encoding="utf-8")
    seen = 0
    for container, pod in services():
        seen += 1
        arguments = container["args"]
        given = {one for one in arguments if one.startswith("--")}
        assert given <= OPTIONS
        value = {name: arguments[arguments.index(name) + 1] for name in given}
        assert [port["containerPort"] for port in container["ports"]] == [int(value["--port"])] == [Settings().port]
        assert value["--host"] == "0.0.0.0"
        for probe, path in (("livenessProbe", "/livez"), ("readinessProbe", "/readyz"), ("startupProbe", "/readyz")):
            assert container[probe]["httpGet"] == {"path": path, "port": "http"}
            assert f'"{path}"' in routes
        waits = int(container["lifecycle"]["preStop"]["exec"]["command"][1])
        assert pod["terminationGracePeriodSeconds"] >= waits + float(value["--drain"]) + 5
        mounts = {mount["mountPath"]: mount.get("readOnly", False) for mount in container["volumeMounts"]}
        assert mounts["/models"]
        assert value["--state"].startswith("/state")
    assert seen == 2
    drain = inspect.signature(verbs.registered_commands[0].callback).parameters["drain"].default  # type: ignore[arg-type]
    assert f'"--drain", "{drain:g}"' in CONTAINERFILE


def test_pods_run_without_rights_and_secrets_are_only_named() -> None:
    for pod in pods():
        assert pod["securityContext"]["runAsNonRoot"]
        for container in [*pod["containers"], *pod.get("initContainers", ())]:
            assert not container["securityContext"]["allowPrivilegeEscalation"]
            assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    for name in MANIFESTS:
        for one in documents(name):
            assert one["kind"] != "Secret"
    (deployment,) = (one for one in documents("kubernetes.yaml") if one["kind"] == "Deployment")
    closed = deployment["spec"]["template"]["spec"]["containers"]
    assert all(one["securityContext"]["readOnlyRootFilesystem"] for one in closed)


def test_selectors_find_their_pods_and_policies_close_what_is_not_asked() -> None:
    for name in MANIFESTS:
        parts = documents(name)
        labels = [one["spec"]["template"]["metadata"]["labels"] for one in parts if one["kind"] == "Deployment"] + [
            group["template"]["metadata"]["labels"]
            for one in parts
            if one["kind"] == "RayCluster"
            for group in groups(one)
        ]
        for one in parts:
            if one["kind"] == "Service":
                assert any(one["spec"]["selector"].items() <= found.items() for found in labels)
            if one["kind"] == "PodDisruptionBudget":
                assert any(one["spec"]["selector"]["matchLabels"].items() <= found.items() for found in labels)
            if one["kind"] == "NetworkPolicy":
                ports = [port["port"] for rule in one["spec"]["ingress"] for port in rule.get("ports", ())]
                assert set(ports) == {Settings().port}


def test_the_image_runs_as_nobody_and_holds_no_secret() -> None:
    assert re.search(r"^USER 10001:10001$", CONTAINERFILE, re.M)
    copied = re.findall(r"^COPY (?!--from)(.*)$", CONTAINERFILE, re.M)
    assert copied == ["deploy/requirements.lock ./", "pyproject.toml README.md LICENSE ./", "src ./src"]
    assert not re.search(r"(?i)(token|secret|password|pepper)\s*=", CONTAINERFILE)
    assert "/livez" in CONTAINERFILE.split("HEALTHCHECK")[1]
    command = re.search(r"^CMD (\[.*\])$", CONTAINERFILE, re.M)
    assert command is not None
    given = yaml.safe_load(command[1])
    assert {one for one in given if one.startswith("--")} <= OPTIONS
    assert f"EXPOSE {Settings().port}" in CONTAINERFILE


def test_ray_tells_nobody_of_its_use_and_asks_for_its_token() -> None:
    assert f"RAY_USAGE_STATS_ENABLED={LOCAL_ENVIRONMENT['RAY_USAGE_STATS_ENABLED']}" in CONTAINERFILE
    (cluster,) = (one for one in documents("kuberay.yaml") if one["kind"] == "RayCluster")
    for group in groups(cluster):
        for container in group["template"]["spec"]["containers"]:
            told = {one["name"]: one for one in container["env"]}
            assert told["RAY_AUTH_MODE"]["value"] == "token"
            assert "secretKeyRef" in told["RAY_AUTH_TOKEN"]["valueFrom"]


def test_the_image_holds_files_of_known_sums_alone() -> None:
    """A line of the lock for all that runs, of the versions that are tested; nothing else is fetched for the image."""
    lines = [line for line in LOCK.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    pins = [re.fullmatch(r"(\S+)==(\S+) --hash=sha256:[0-9a-f]{64}", line) for line in lines]
    assert [line for line, pin in zip(lines, pins, strict=True) if pin is None] == []
    locked = {str(canonicalize_name(pin[1])): pin[2].split("+")[0] for pin in pins if pin is not None}
    tested = dict(re.findall(r"^(\S+)==(\S+)$", (ROOT / "constraints.txt").read_text(encoding="utf-8"), re.M))
    tested = {str(canonicalize_name(name)): version for name, version in tested.items()}
    assert locked.items() <= tested.items()
    needed = {part.name for part in installed_parts(extras={"onnx", "otel", "postgres", "ray"})} - {"tunesmith"}
    assert needed <= set(locked)
    assert {"fastapi", "torch", "onnxruntime", "psycopg", "ray"} <= set(locked)
    installs = re.findall(r"pip install (.*)", CONTAINERFILE)
    assert installs
    assert all("--require-hashes" in one or "--no-index --no-deps --no-build-isolation" in one for one in installs)
