"""docker-compose.yml, the image and the scripts that they start: their form, and what runs without servers."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from flows.settings import PREFIX, Settings, known_names
from tests.integration.containers import COMPOSE, ROOT, VARIABLE, compose, image_files

SERVICES = compose()["services"]
OURS = sorted(name for name, service in SERVICES.items() if "build" in service)
JOBS = {"topics"}
SECRETS = ROOT / "deploy" / "secrets"
TOOLS = Path(sys.executable).parent


def _tool(name: str, *arguments: str) -> None:
    done = subprocess.run([TOOLS / name, *arguments], cwd=ROOT, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_compose_file_follows_the_compose_specification() -> None:
    _tool("check-jsonschema", "--builtin-schema", "vendor.compose-spec", str(COMPOSE))


def test_the_dockerfile_passes_hadolint() -> None:
    _tool("hadolint", "Dockerfile")


def test_the_yaml_files_pass_yamllint() -> None:
    rules = "{extends: default, rules: {line-length: {max: 120}, document-start: disable}}"
    _tool("yamllint", "--strict", "-d", rules, "docker-compose.yml", "grafana/provisioning")


def test_there_is_everything_that_the_system_needs() -> None:
    assert set(SERVICES) == {"kafka", "topics", "influxdb", "grafana", "flow", "kafka-ui", "simulator"}
    assert [name for name, service in SERVICES.items() if service.get("profiles")] == ["simulator"]
    assert OURS == ["flow", "simulator", "topics"]


def test_images_have_a_version_and_the_app_is_built_here() -> None:
    for name, service in SERVICES.items():
        _, _, tag = service["image"].rpartition(":")
        assert re.search(r"\d+\.\d+\.\d+", tag), f"{name}: {service['image']}"
    for line in (ROOT / "Dockerfile").read_text().splitlines():
        if line.startswith("FROM"):
            assert line.split()[1] == "python:3.12-slim-bookworm"


def test_every_fraud_name_is_a_setting() -> None:
    named = {name for service in SERVICES.values() for name in service["environment"] if name.startswith(PREFIX)}
    interpolated = {match[1] for match in VARIABLE.finditer(COMPOSE.read_text()) if match[1].startswith(PREFIX)}
    assert named
    assert named | interpolated <= set(known_names())


@pytest.mark.parametrize("name", OURS)
def test_the_settings_of_each_container_of_ours_are_accepted(name: str) -> None:
    named = {key: str(value) for key, value in SERVICES[name]["environment"].items()}
    environment = {key: value.replace("/run/secrets", str(SECRETS)) for key, value in named.items()}
    settings = Settings.load(environment, env_file=None)
    assert settings.kafka_bootstrap_servers == "kafka:19092"
    if name == "flow":
        assert settings.influx_token.get_secret_value()
        assert (settings.influx_org, settings.influx_bucket) == ("fraud-detection-org", "fraud-detection-bucket")


def test_every_variable_has_a_default_so_that_the_first_start_needs_no_step_by_hand() -> None:
    text = "\n".join(line.partition("#")[0] for line in COMPOSE.read_text().splitlines())
    assert not re.findall(r"\$(?!\{\w+:-[^}]+\})", text)
    for service in SERVICES.values():
        for source in (entry["path"] for entry in service.get("env_file", ()) if entry["required"]):
            assert (ROOT / source).exists()


def test_secrets_are_files_that_a_container_has_only_where_it_reads_them() -> None:
    declared = compose()["secrets"]
    for name, secret in declared.items():
        assert secret["file"] == f"./deploy/secrets/{name}"
        assert (ROOT / secret["file"]).read_text().strip()
    own = compose({"FRAUDFLOW_SECRETS": "/etc/fraud"})["secrets"]
    assert {secret["file"] for secret in own.values()} == {f"/etc/fraud/{name}" for name in declared}
    data_source = (ROOT / "grafana/provisioning/datasources/influxdb.yaml").read_text()
    for name, service in SERVICES.items():
        text = "\n".join(map(str, service["environment"].values())) + (data_source if name == "grafana" else "")
        assert set(re.findall(r"/run/secrets/([\w-]+)", text)) == set(service.get("secrets", ())), name
        for variable in service["environment"]:
            assert variable.endswith("_FILE") or not re.search("PASSWORD|TOKEN|SECRET", variable), variable
    assert set(declared) == {secret for service in SERVICES.values() for secret in service.get("secrets", ())}


def test_both_sides_have_the_same() -> None:
    influxdb, flow, grafana = (SERVICES[name]["environment"] for name in ("influxdb", "flow", "grafana"))
    assert influxdb["DOCKER_INFLUXDB_INIT_ADMIN_TOKEN_FILE"] == flow["FRAUD_INFLUX_TOKEN_FILE"]
    for ours, its in (("ORG", "ORG"), ("BUCKET", "BUCKET")):
        assert influxdb[f"DOCKER_INFLUXDB_INIT_{its}"] == flow[f"FRAUD_INFLUX_{ours}"]
    assert grafana["GRAFANA_INFLUX_DATABASE"] == influxdb["DOCKER_INFLUXDB_INIT_BUCKET"]
    for name in ("influx-admin-password", "grafana-influx-password"):
        assert len((SECRETS / name).read_text()) >= 8, "InfluxDB refuses shorter ones"


def test_nothing_can_be_reached_from_another_machine() -> None:
    ports = [port for service in SERVICES.values() for port in service.get("ports", ())]
    assert all(re.fullmatch(r"127\.0\.0\.1:\d+:\d+", port) for port in ports), ports
    hosts = [port.split(":")[1] for port in ports]
    assert sorted(hosts) == sorted(set(hosts))


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_each_container_is_bounded_and_watched(name: str) -> None:
    service = SERVICES[name]
    assert set(service["deploy"]["resources"]["limits"]) == {"cpus", "memory"}
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["logging"]["options"]["max-size"] == "10m"
    assert service["restart"] == ("no" if name in JOBS else "unless-stopped")
    assert ("healthcheck" in service) == (name not in JOBS | {"simulator"})
    if name in OURS:
        assert (service["user"], service["read_only"], service["init"]) == ("10001:10001", True, True)
        assert service["cap_drop"] == ["ALL"]


def test_a_container_waits_for_what_can_come_true() -> None:
    for name, service in SERVICES.items():
        for needed, wait in service.get("depends_on", {}).items():
            if wait["condition"] == "service_healthy":
                assert "healthcheck" in SERVICES[needed], f"{name} waits for {needed}"
            else:
                assert wait["condition"] == "service_completed_successfully"
                assert needed in JOBS, f"{name} waits for {needed}"


def test_volumes_are_declared_and_mounted_files_exist() -> None:
    declared = set(compose()["volumes"])
    used = set()
    for service in SERVICES.values():
        for mount in service.get("volumes", ()):
            source, _, target = mount.partition(":")
            if source.startswith("./"):
                assert (ROOT / source).exists(), mount
                assert target.endswith(":ro"), mount
            else:
                used.add(source)
    assert used == declared


def test_the_image_holds_what_runs_and_nothing_else(tmp_path: Path) -> None:
    app = image_files(tmp_path)
    held = {path.name for path in app.iterdir()}
    assert {"flows", "operators", "connectors", "fraudflow", "rules.toml", "model.toml", "deploy"} <= held
    assert not held & {".env", ".git", "tests", "benchmarks", "docs", "secrets"}
    for path in SERVICES["flow"]["volumes"]:
        target = path.removesuffix(":ro").rpartition(":")[2]
        if target.startswith("/app/"):
            assert (app / target.removeprefix("/app/")).exists(), "a mount point can't be made in a read-only image"


def test_the_image_is_made_from_hashed_packages_for_a_plain_user() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text()
    assert "--require-hashes" in dockerfile
    assert re.search(r"^USER 10001:10001$", dockerfile, re.MULTILINE)
    entry = re.search(r'^ENTRYPOINT \["/app/(.+)"\]$', dockerfile, re.MULTILINE)
    assert entry
    assert os.access(ROOT / entry[1], os.X_OK)
    assert not re.search(r"https?://|index-url", dockerfile)


@pytest.mark.parametrize("script", ["deploy/start.sh", "deploy/influxdb/setup.sh"])
def test_scripts_can_be_run(script: str) -> None:
    path = ROOT / script
    assert os.access(path, os.X_OK)
    shell = path.read_text().splitlines()[0].removeprefix("#!")
    assert subprocess.run([shell, "-n", path], check=False).returncode == 0


def test_the_entry_makes_the_recovery_partitions_once(tmp_path: Path) -> None:
    environment = {"PATH": f"{TOOLS}{os.pathsep}{os.environ['PATH']}", "BYTEWAX_RECOVERY_DIRECTORY": str(tmp_path)}
    entry = [str(ROOT / "deploy/start.sh"), "echo", "the command"]
    outputs = [subprocess.check_output(entry, env=environment, cwd=ROOT, text=True) for _ in range(2)]
    assert outputs[0].splitlines()[-1] == outputs[1].strip() == "the command"
    assert len(list(tmp_path.glob("part-*.sqlite3"))) == 4


def test_the_entry_becomes_the_command_where_there_is_nothing_to_recover() -> None:
    entry = [str(ROOT / "deploy/start.sh"), "sh", "-c", "exit 7"]
    assert subprocess.run(entry, env={"PATH": os.environ["PATH"]}, check=False).returncode == 7


def test_influxdb_is_set_up_for_grafana(tmp_path: Path) -> None:
    """The set-up script with an `influx` that notes how it is called: there is no InfluxDB 2 without Docker."""
    calls = tmp_path / "calls"
    stand_in = tmp_path / "influx"
    stand_in.write_text(f'#!/bin/sh\necho "$*" >> {calls}\n')
    stand_in.chmod(0o755)
    service: dict[str, Any] = SERVICES["influxdb"]
    named = {name: str(value) for name, value in service["environment"].items()}
    environment = {name: value.replace("/run/secrets", str(SECRETS)) for name, value in named.items()}
    environment |= {"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}", "DOCKER_INFLUXDB_INIT_BUCKET_ID": "b1"}
    subprocess.run([ROOT / "deploy/influxdb/setup.sh"], env=environment, check=True)
    mapping, reader = calls.read_text().splitlines()
    assert mapping.startswith("v1 dbrp create --org fraud-detection-org --bucket-id b1 --db fraud-detection-bucket ")
    assert mapping.endswith(" --default")
    password = (SECRETS / "grafana-influx-password").read_text()
    assert reader.startswith(f"v1 auth create --org fraud-detection-org --username grafana --password {password} ")
    assert reader.endswith(" --read-bucket b1")
    assert "write" not in reader
    mounted = [mount for mount in service["volumes"] if mount.startswith("./deploy/influxdb/setup.sh:")]
    assert mounted == ["./deploy/influxdb/setup.sh:/docker-entrypoint-initdb.d/setup.sh:ro"]
    provisioned = yaml.safe_load((ROOT / "grafana/provisioning/datasources/influxdb.yaml").read_text())
    assert provisioned["datasources"][0]["basicAuthUser"] == "$GRAFANA_INFLUX_USER"
