"""docker-compose.yml against the published schema, and as docker compose's own loader resolves it."""

from __future__ import annotations

import functools
import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any, Final

import jsonschema
import pytest
import yaml

from .programs import ROOT, program

ALWAYS: Final = {"volumes", "collector", "collector-health", "jaeger"}
METRICS: Final = {"prometheus", "grafana"}
PROXY: Final = {"proxy", "provider"}
LOAD: Final = {"load-sdk", "load-proxy"}
EVERY: Final = ("metrics", "proxy", "demo")
PROFILES: Final = [
    ((), ALWAYS),
    (("metrics",), ALWAYS | METRICS),
    (("proxy",), ALWAYS | PROXY),
    (("demo",), ALWAYS | PROXY | LOAD),
    (EVERY, ALWAYS | METRICS | PROXY | LOAD),
]


@functools.cache
def resolve(profiles: tuple[str, ...] = EVERY, **environ: str) -> dict[str, Any]:
    """What ``docker compose config`` makes of the repository, with an environment that holds nothing else."""
    done = subprocess.run(
        [program("compose"), str(ROOT), *profiles], env={"PATH": "/usr/bin:/bin", **environ}, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)  # type: ignore[no-any-return]


def services() -> list[tuple[str, dict[str, Any]]]:
    """Every service of every profile."""
    return sorted(resolve()["services"].items())


def test_schema() -> None:
    """The file is valid by the published schema of compose files."""
    schema = json.loads((Path(__file__).parent / "data/compose-spec/compose-spec.json").read_text())
    jsonschema.validators.validator_for(schema)(schema).validate(yaml.safe_load((ROOT / "docker-compose.yml").read_text()))


@pytest.mark.parametrize(("profiles", "expected"), PROFILES, ids=["+".join(profiles) or "none" for profiles, _ in PROFILES])
def test_profiles(profiles: tuple[str, ...], expected: set[str]) -> None:
    """Each profile resolves, with nothing but the repository's own `.env`, to the services that it promises."""
    assert set(resolve(profiles)["services"]) == expected


def test_ports_are_on_loopback() -> None:
    """Nothing is published beyond this machine."""
    ports = {(name, port["host_ip"], port["published"]) for name, service in services() for port in service.get("ports", [])}
    assert {host for _, host, _ in ports} == {"127.0.0.1"}
    assert len({published for *_, published in ports}) == len(ports) == 6


def test_ports_are_overridable() -> None:
    """Each published port, and the address, can be set from outside; the port inside stays what the configuration listens on."""
    names = re.findall(r"^(\w+_PORT)=(\d+)$", (ROOT / ".env").read_text(), re.MULTILINE)
    moved = resolve(EVERY, BIND_ADDRESS="0.0.0.0", **{name: str(int(port) + 20000) for name, port in names})
    ports = [port for service in moved["services"].values() for port in service.get("ports", [])]
    assert len(ports) == len(names)
    assert {port["host_ip"] for port in ports} == {"0.0.0.0"}
    assert {(int(port["published"]), port["target"]) for port in ports} == {(int(port) + 20000, int(port)) for _, port in names}


def test_images_are_pinned() -> None:
    """Every image names its version; those that are built from one that does."""
    for name, service in services():
        pinned = [service["image"]] if "build" not in service else list(service["build"]["args"].values())
        for image in pinned:
            assert re.search(r":v?\d+\.\d+", image), f"{name}: {image}"


def test_mounted_and_built_files_are_there() -> None:
    """What is mounted or built from is in the repository: no other file is needed."""
    for name, service in services():
        for volume in service.get("volumes", []):
            if volume["type"] == "bind":
                assert Path(volume["source"]).exists(), f"{name}: {volume['source']}"
                assert volume["read_only"]
        if "build" in service:
            dockerfile = ROOT / service["build"]["dockerfile"]
            allowed = Path(f"{dockerfile}.dockerignore").read_text().splitlines()
            copied = [word for line in re.findall(r"^COPY (?!--from)(.+)$", dockerfile.read_text(), re.MULTILINE) for word in line.split()[:-1]]
            assert copied
            for path in copied:
                assert (ROOT / path).exists()
                assert f"!{path}" in allowed


@pytest.mark.parametrize(("name", "config"), [("collector", "collector-config.yaml"), ("jaeger", "deploy/jaeger/config.yaml")])
def test_environment_is_read(name: str, config: str) -> None:
    """Every variable that a container is given is one that its configuration reads, which has a default for all of them."""
    text = (ROOT / config).read_text()
    read = set(re.findall(r"\$\{env:(\w+):-[^}]+\}", text))
    assert len(re.findall(r"\$\{", text.replace("`${env:NAME:-default}`", ""))) == len(re.findall(r"\$\{env:\w+:-[^}]+\}", text.replace("`${env:NAME:-default}`", "")))
    assert set(resolve()["services"][name]["environment"]) - {"GOMEMLIMIT"} <= read


@pytest.mark.parametrize(("name", "config"), [("collector", "collector-config.yaml"), ("jaeger", "deploy/jaeger/config.yaml")])
def test_volumes_belong_to_their_user(name: str, config: str) -> None:
    """The folders that a container writes to lie in a volume that was given to its user before it starts."""
    service, owner = resolve()["services"][name], resolve()["services"]["volumes"]
    assert service["user"] == "10001:10001"
    assert owner["command"][:3] == ["chown", "-R", "10001:10001"]
    assert service["depends_on"]["volumes"]["condition"] == "service_completed_successfully"
    (mounted,) = [volume for volume in service["volumes"] if volume["type"] == "volume"]
    (owned,) = [volume["target"] for volume in owner["volumes"] if volume["source"] == mounted["source"]]
    assert owned in owner["command"]
    storage = f"{name.upper()}_STORAGE_DIR"
    assert service["environment"][storage] == mounted["target"]
    folders = [line for line in (ROOT / config).read_text().splitlines() if re.match(r"\s*(directory|path|keys|values):", line)]
    assert folders
    assert all(storage in line for line in folders)


def test_who_is_waited_for_can_be_waited_for() -> None:
    """Whoever must be healthy has a health check, whoever must have ended is a command that ends; a crash starts the rest again."""
    everything = dict(services())
    for name, service in everything.items():
        for other, rule in service.get("depends_on", {}).items():
            if rule["condition"] == "service_healthy":
                assert "healthcheck" in everything[other], f"{name} waits for {other}"
            if rule["condition"] == "service_completed_successfully":
                assert "restart" not in everything[other]
        assert service.get("restart") == "unless-stopped" or name == "volumes"
    assert "healthcheck" not in everything["collector"], "its image has no program that could run one"
    assert everything["collector-health"]["network_mode"] == "service:collector"


def test_health_is_asked_where_it_is_answered() -> None:
    """The health checks ask the ports that the configurations listen on when nothing is set."""
    for service, config, port in (("collector-health", "collector-config.yaml", "COLLECTOR_HEALTH_PORT"), ("jaeger", "deploy/jaeger/config.yaml", "JAEGER_HEALTH_PORT")):
        (default,) = re.findall(rf"\$\{{env:{port}:-(\d+)\}}", (ROOT / config).read_text())
        assert f":{default}/" in resolve()["services"][service]["healthcheck"]["test"][-1]


def test_tail_sampling_overlay() -> None:
    """The overlay of compose adds the example to what the Collector reads, and nothing else."""
    plain, sampled = (resolve((), COMPOSE_FILE=files) for files in ("docker-compose.yml", "docker-compose.yml:deploy/compose.tail-sampling.yaml"))
    collector = sampled["services"]["collector"]
    targets = {volume["target"]: volume["source"] for volume in collector["volumes"]}
    for option in collector["command"]:
        assert Path(targets[option.removeprefix("--config=")]).exists()
    assert len(collector["command"]) == 2
    for name in ("command", "volumes"):
        del collector[name], plain["services"]["collector"][name]
    assert sampled == plain


def test_no_key_is_needed() -> None:
    """No service is given, or asks for, a key of a provider."""
    text = json.dumps(resolve()) + (ROOT / ".env").read_text()
    assert not re.search(r"api_?key|secret|token", text, re.IGNORECASE)
    assert os.path.samefile(resolve()["services"]["collector"]["volumes"][0]["source"], ROOT / "collector-config.yaml")


def test_the_jaeger_that_is_tested() -> None:
    """The image of Jaeger is the version that the native build says it is."""
    (version,) = re.findall(r"latestVersion=v([\d.]+)", (ROOT / "deploy/build_stack.py").read_text())
    assert resolve()["services"]["jaeger"]["image"] == f"jaegertracing/jaeger:{version}"
