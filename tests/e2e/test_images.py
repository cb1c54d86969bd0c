"""What is in the images, read from their archives, and how they run under the strictest pod security."""

from __future__ import annotations

import json
import re
import tarfile
from collections.abc import Iterator, Sequence
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from packaging.utils import canonicalize_name

from cluster import images
from cluster.node import Node
from integration.waiting import wait_for

ROOT = Path(__file__).resolve().parents[2]
VERSION = version("tenantry")
PARTS = ("operator", "router", "predictor")
PACKAGES = re.compile(r"opt/tenantry/lib/python3\.\d+/site-packages/")
WRITTEN = re.compile(
    # Packages and the project; bytecode of the standard library; folders to mount volumes at.
    r"opt|opt/tenantry(/.*)?|usr(/local)?/lib/python3(\.\d+)?/.*__pycache__(/.*\.pyc)?|var/(lib|cache)/tenantry"
)
MOST_MEGABYTES = {"operator": 200, "router": 280, "predictor": 500}
NAMESPACE = "images"
SECONDS = 120.0


class Archive:
    """A docker-archive."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @cached_property
    def config(self) -> dict[str, Any]:
        """How it is run."""
        with tarfile.open(self._path) as archive:
            config: dict[str, Any] = self._json(archive, self._manifest(archive)["Config"])["config"]
            return config

    @cached_property
    def files(self) -> list[tarfile.TarInfo]:
        """What is laid over the base, layer by layer."""
        with tarfile.open(self._path) as archive:
            _base, *layers = self._manifest(archive)["Layers"]
            return [file for layer in layers for file in self._layer(archive, layer)]

    def _manifest(self, archive: tarfile.TarFile) -> dict[str, Any]:
        [manifest] = self._json(archive, "manifest.json")
        return dict(manifest)

    def _json(self, archive: tarfile.TarFile, name: str) -> Any:
        content = archive.extractfile(name)
        assert content is not None
        return json.load(content)

    def _layer(self, archive: tarfile.TarFile, name: str) -> Iterator[tarfile.TarInfo]:
        with tarfile.open(fileobj=archive.extractfile(name)) as layer:
            yield from layer


@pytest.fixture(scope="module")
def archives() -> dict[str, Archive]:
    built = images.images()
    return {part: Archive(getattr(built, part)) for part in PARTS}


@pytest.mark.parametrize("part", PARTS)
def test_an_image_holds_what_its_lock_pins_and_no_other_package(
    archives: dict[str, Archive], part: str
) -> None:
    lock = (ROOT / "deploy/images" / f"{part}.lock").read_text()
    pinned = set(re.findall(r"^(\S+==[^\s;]+)", lock, flags=re.MULTILINE))
    always = set(re.findall(r"^(\S+==\S+) \\$", lock, flags=re.MULTILINE))
    found = {
        f"{canonicalize_name(match[1])}=={match[2]}"
        for file in archives[part].files
        if (match := re.fullmatch(PACKAGES.pattern + r"([^/]+)-([^/-]+)\.dist-info", file.name))
    }
    assert always <= found <= pinned


@pytest.mark.parametrize("part", PARTS)
def test_an_image_says_what_it_is_and_runs_as_nobody(archives: dict[str, Archive], part: str) -> None:
    config = archives[part].config
    assert config["User"] == "10001:10001"
    assert config["Entrypoint"] == ["python", "-m", f"tenantry_{part}"]
    labels = config["Labels"]
    assert labels["org.opencontainers.image.title"] == f"Tenantry {part}"
    assert labels["org.opencontainers.image.version"] == VERSION


@pytest.mark.parametrize("part", PARTS)
def test_nothing_else_of_the_build_stays_in_an_image(archives: dict[str, Archive], part: str) -> None:
    files = [file for file in archives[part].files if not file.isdir()]
    assert [file.name for file in files if file.size and not WRITTEN.fullmatch(file.name)] == []
    assert [file.name for file in files if file.mode & 0o6002 and not file.issym()] == []
    assert {file.uid for file in files} == {0}


@pytest.mark.parametrize("part", PARTS)
def test_what_an_image_runs_is_compiled(archives: dict[str, Archive], part: str) -> None:
    names = {file.name for file in archives[part].files}
    ours = [name for name in names if re.match(r"opt/tenantry/project/tenantry_core/.*\.py$", name)]
    assert ours
    for name in ours:
        folder, _, file = name.rpartition("/")
        assert any(other.startswith(f"{folder}/__pycache__/{file[:-3]}.") for other in names)


@pytest.mark.parametrize("part", PARTS)
def test_an_image_stays_small(archives: dict[str, Archive], part: str) -> None:
    assert sum(file.size for file in archives[part].files) < MOST_MEGABYTES[part] * 1e6


@pytest.fixture(scope="module")
def restricted(node: Node) -> Iterator[Node]:
    """A namespace that takes pods under the strictest security only."""
    node.kubectl("create", "namespace", NAMESPACE)
    node.kubectl("label", "namespace", NAMESPACE, "pod-security.kubernetes.io/enforce=restricted")
    yield node
    node.kubectl("delete", "namespace", NAMESPACE, "--wait=false")


@pytest.mark.parametrize("part", PARTS)
def test_an_image_has_all_that_it_imports(restricted: Node, part: str) -> None:
    run(restricted, f"{part}-help", part, "--help")
    wait_for(lambda: phase(restricted, f"{part}-help") == "Succeeded", SECONDS, "it has told its options")
    said = restricted.kubectl("logs", f"--namespace={NAMESPACE}", f"{part}-help")
    assert said.startswith("usage: ")


def test_a_predictor_has_what_its_libraries_need_of_the_system(restricted: Node) -> None:
    libraries = "import lightgbm, onnxruntime, sklearn, xgboost"
    run(restricted, "libraries", "predictor", command=("python", "-c", libraries))
    done = wait_for(lambda: ended(restricted, "libraries"), SECONDS, "they are imported")
    assert done == "Succeeded", restricted.kubectl("logs", f"--namespace={NAMESPACE}", "libraries")


@pytest.mark.parametrize(
    ("part", "arguments"),
    [
        ("router", ("--snapshot=/tmp", "--host=0.0.0.0")),
        ("predictor", ("--slot=default-0", "--cache-dir=/tmp", "--host=0.0.0.0", "--port=8080")),
    ],
)
def test_an_image_on_a_read_only_file_system_serves_and_ends_when_told(
    restricted: Node, part: str, arguments: tuple[str, ...]
) -> None:
    run(restricted, part, part, *arguments, probe={"httpGet": {"path": "/v2/health/live", "port": 8080}})
    wait_for(lambda: is_ready(restricted, part), SECONDS, "it serves")
    # The first process of a container gets a signal from inside only when it handles it.
    end = "import os, signal; os.kill(1, signal.SIGTERM)"
    restricted.kubectl("exec", f"--namespace={NAMESPACE}", part, "--", "python", "-c", end)
    wait_for(lambda: phase(restricted, part) == "Succeeded", SECONDS, "it has ended without an error")


def run(
    node: Node,
    name: str,
    part: str,
    *arguments: str,
    probe: dict[str, Any] | None = None,
    command: Sequence[str] = (),
) -> None:
    container: dict[str, Any] = {
        "name": part,
        "image": f"tenantry/{part}:{VERSION}",
        "args": arguments,
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        },
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],
    }
    if command:
        container["command"] = command
    if probe is not None:
        container["readinessProbe"] = probe | {"periodSeconds": 1}
    spec = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [container],
        "volumes": [{"name": "tmp", "emptyDir": {}}],
    }
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}
    node.kubectl("create", f"--namespace={NAMESPACE}", "--filename=-", stdin=json.dumps(pod))


def phase(node: Node, name: str) -> str:
    return str(status(node, name).get("phase"))


def ended(node: Node, name: str) -> str:
    """How, once it has."""
    now = phase(node, name)
    return now if now in ("Succeeded", "Failed") else ""


def is_ready(node: Node, name: str) -> bool:
    conditions = status(node, name).get("conditions", [])
    return any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)


def status(node: Node, name: str) -> dict[str, Any]:
    pod = node.kubectl("get", "pod", f"--namespace={NAMESPACE}", name, "--output=json")
    return dict(json.loads(pod)["status"])
