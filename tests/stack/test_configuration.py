"""The shipped files as the real programs see them: valid, current, and about components that are really there."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from .programs import ROOT, load, program, until
from .stack import Stack

COLLECTOR: Final = "collector-config.yaml"
EXAMPLES: Final = "deploy/collector/examples"
#: Its exporter brings the clients of Kubernetes and AWS: a build of many minutes, for one example. And not every module
#: proxy has it in the release that is pinned.
NOT_BUILT: Final = f"{EXAMPLES}/load-balancing.yaml"
OVERLAYS: Final = sorted(
    str(path.relative_to(ROOT)) for path in (ROOT / EXAMPLES).glob("*.yaml") if str(path.relative_to(ROOT)) != NOT_BUILT
)
JAEGER: Final = "deploy/jaeger/config.yaml"


def run(*command: str, environ: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """A command in the repository's root, and how it ended."""
    return subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=60)


def configs(*names: str) -> list[str]:
    """The options that name configuration files."""
    return [f"--config={name}" for name in names]


@pytest.mark.parametrize(
    ("name", "files"),
    [("collector", (COLLECTOR,)), *(("collector", (COLLECTOR, overlay)) for overlay in OVERLAYS)]
    + [("jaeger", (JAEGER,)), ("jaeger", (JAEGER, "deploy/jaeger/examples/opensearch.yaml"))],
)
def test_validate(name: str, files: tuple[str, ...]) -> None:
    """Each file that is shipped, and each example on top of it, passes the program's own `validate`, with no variable set."""
    done = run(program(name), "validate", *configs(*files), environ={"PATH": "/usr/bin:/bin"})
    assert done.returncode == 0, done.stderr
    assert "deprecated" not in done.stderr


def test_validate_finds_faults(tmp_path: Path) -> None:
    """`validate` is a check: a setting that no component has is refused."""
    broken = tmp_path / "broken.yaml"
    broken.write_text("processors: {redaction: {no_such_setting: true}}")
    assert run(program("collector"), "validate", *configs(COLLECTOR, str(broken))).returncode != 0


def test_prometheus_configuration() -> None:
    """Prometheus's own checker accepts the configuration."""
    done = run(program("promtool"), "check", "config", "deploy/prometheus/prometheus.yml")
    assert done.returncode == 0, done.stdout + done.stderr


def test_components_are_those_of_the_build() -> None:
    """The files use every component of the built Collector and no other, by its current name."""
    listed = yaml.safe_load(run(program("collector"), "components").stdout)
    kinds = ("receivers", "processors", "exporters", "connectors", "extensions")
    built = {kind: {row["name"] for row in listed[kind]} for kind in kinds}
    used: dict[str, set[str]] = {kind: set() for kind in kinds}
    for name in (COLLECTOR, *OVERLAYS):
        for kind, members in yaml.safe_load((ROOT / name).read_text()).items():
            if kind in used:
                used[kind] |= {member.split("/")[0] for member in members}
    assert used == built


def test_collector_starts_without_a_warning_about_names(stack: Stack) -> None:
    """The running Collector calls nothing in the shipped file deprecated."""
    log = (stack.folder / "collector.log").read_text()
    assert "Everything is ready" in log
    assert not [line for line in log.splitlines() if "deprecated" in line.lower() or "alias" in line.lower()]


def test_one_release() -> None:
    """The image, the builder and every component are of one release of the Collector."""
    version = yaml.safe_load((ROOT / "deploy/collector/builder.yaml").read_text())["dist"]["version"]
    modules = re.findall(r"gomod: (\S+) v(\S+)", (ROOT / "deploy/collector/builder.yaml").read_text())
    assert {found for module, found in modules if "/confmap/" not in module} == {version}
    assert f"opentelemetry-collector-contrib:{version}\n" in (ROOT / ".env").read_text()
    assert f"cmd/builder@v{version}" in (ROOT / "deploy/build_stack.py").read_text()


def test_load_balancing_example() -> None:
    """The one example that is not validated here uses, but for its exporter, only components of the shipped file."""
    example, shipped = (yaml.safe_load((ROOT / name).read_text()) for name in (NOT_BUILT, COLLECTOR))
    for kind in ("receivers", "processors", "extensions"):
        for name, settings in example[kind].items():
            assert name in shipped[kind]
            assert _keys(settings) <= _keys(shipped[kind][name])
    assert list(example["exporters"]) == ["load_balancing"]


def _keys(settings: Any, prefix: str = "") -> set[str]:
    if not isinstance(settings, dict):
        return {prefix}
    return {key for name, value in settings.items() for key in _keys(value, f"{prefix}.{name}")}


def test_dashboard_is_what_the_table_makes() -> None:
    """The dashboard in the repository is the one that its table of panels makes."""
    builder = load(ROOT / "deploy/grafana/build_dashboard.py")
    assert builder.TARGET.read_text() == builder.text()


def test_grafana_is_provisioned_with_what_is_there() -> None:
    """The dashboard asks data sources that are provisioned, and the exemplars' traces are looked up in one of them."""
    sources = yaml.safe_load((ROOT / "deploy/grafana/provisioning/datasources/datasources.yaml").read_text())["datasources"]
    uids = {source["uid"] for source in sources}
    dashboard = json.loads((ROOT / "deploy/grafana/dashboards/llm.json").read_text())
    asked = {panel["datasource"]["uid"] for panel in dashboard["panels"] if "datasource" in panel}
    linked = {link["datasourceUid"] for source in sources for link in source.get("jsonData", {}).get("exemplarTraceIdDestinations", [])}
    assert asked == {"prometheus"}
    assert asked | linked <= uids
    places = [(p["gridPos"]["x"], p["gridPos"]["y"]) for p in dashboard["panels"]]
    assert len(set(places)) == len(places)


def test_tail_sampling_example(own_stack: Stack) -> None:
    """With the example on top, failed traces are stored, the rest is not, and all of them are counted."""
    from .spans import router_tree, sent

    own_stack.environ |= {"TAIL_SAMPLING_WAIT": "500ms", "TAIL_SAMPLING_PERCENT": "0"}
    own_stack.jaeger()
    own_stack.collector(f"{EXAMPLES}/tail-sampling.yaml")
    with sent(own_stack, "sampled") as (tracer, _):
        for _ in range(5):
            tracer.start_span("chat gpt-4o-mini").end()
        failed = {router_tree(tracer) for _ in range(3)}
    until(lambda: {trace["traceID"] for trace in own_stack.traces("sampled")} >= failed, "the failed traces are stored")
    counted = 'span_name="chat gpt-4o-mini"'
    own_stack.prometheus()
    until(lambda: sum(float(row["value"][1]) for row in own_stack.query(f"traces_span_metrics_calls_total{{{counted}}}")) == 5 + 2 * 3, "all spans are counted")
    assert {trace["traceID"] for trace in own_stack.traces("sampled")} == failed
