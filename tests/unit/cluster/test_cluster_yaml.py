"""cluster.yaml and the variants in docs/cluster.md, checked offline: Ray's schema, defaults and rules, then ours."""

from __future__ import annotations

import copy
import ipaddress
import json
import re
import subprocess
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import ray.autoscaler
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config

ROOT = Path(__file__).resolve().parents[3]
SCHEMA = json.loads((Path(ray.autoscaler.__file__).parent / "ray-schema.json").read_text())
SSH_PORT = 22
COMMAND_KEYS = (
    "initialization_commands",
    "head_setup_commands",
    "worker_setup_commands",
    "head_start_ray_commands",
    "worker_start_ray_commands",
)

Config = dict[str, Any]


def sources() -> dict[str, str]:
    """Every complete configuration of the repository, by name."""
    blocks = re.findall(r"^```yaml\n(.*?)^```$", (ROOT / "docs" / "cluster.md").read_text(), re.MULTILINE | re.DOTALL)
    variants = {yaml.safe_load(block)["provider"]["type"]: block for block in blocks if "cluster_name:" in block}
    return {"cluster.yaml": (ROOT / "cluster.yaml").read_text(), **variants}


SOURCES = sources()
every_config = pytest.mark.parametrize("name", list(SOURCES))


def load(name: str) -> Config:
    """The configuration as `ray up` completes it, after Ray's own checks."""
    raw = yaml.safe_load(SOURCES[name])
    jsonschema.validate(raw, SCHEMA)
    prepared: Config = prepare_config(raw)
    validate_config(prepared)
    return prepared


def open_ports(config: Mapping[str, Any]) -> Iterator[tuple[int, int]]:
    """Yield the ranges of ports that the security group's extra rules open to the whole internet."""
    group = config["provider"].get("security_group", {})
    for rule in group.get("IpPermissions", []):
        ranges = [r["CidrIp"] for r in rule.get("IpRanges", [])] + [r["CidrIpv6"] for r in rule.get("Ipv6Ranges", [])]
        if any(ipaddress.ip_network(cidr).prefixlen == 0 for cidr in ranges):
            everything = str(rule["IpProtocol"]) == "-1"
            yield (0, 65535) if everything else (rule["FromPort"], rule["ToPort"])


def commands(config: Mapping[str, Any]) -> list[str]:
    return [command for key in COMMAND_KEYS for command in config[key]]


def test_the_documentation_has_both_variants() -> None:
    assert set(SOURCES) == {"cluster.yaml", "gcp", "local"}


@every_config
def test_ray_accepts_it(name: str) -> None:
    assert load(name)["cluster_name"] == "tastelab"


def test_ray_refuses_what_is_wrong() -> None:
    raw = yaml.safe_load(SOURCES["cluster.yaml"])
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(raw | {"idle_minutes": 10}, SCHEMA)
    with pytest.raises(ValueError, match="head_node_type"):
        validate_config(prepare_config(raw | {"head_node_type": "haed"}))


@every_config
def test_nothing_but_ssh_is_open_to_the_internet(name: str) -> None:
    assert all(low == high == SSH_PORT for low, high in open_ports(load(name)))


def test_an_open_dashboard_would_be_seen() -> None:
    config = copy.deepcopy(load("cluster.yaml"))
    rule = {"FromPort": 8265, "ToPort": 8265, "IpProtocol": "tcp", "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}
    config["provider"]["security_group"]["IpPermissions"] = [rule]
    assert list(open_ports(config)) == [(8265, 8265)]


@every_config
def test_the_dashboard_listens_on_loopback(name: str) -> None:
    (start,) = [command for command in load(name)["head_start_ray_commands"] if "ray start" in command]
    assert re.findall(r"--dashboard-host[= ](\S+)", start) == ["127.0.0.1"]


@every_config
def test_every_node_has_the_token_and_asks_for_it(name: str) -> None:
    config = load(name)
    (place,) = [remote for remote, local in config["file_mounts"].items() if local == "~/.ray/auth_token"]
    setup = "\n".join(config["initialization_commands"])
    assert ">> ~/.bashrc" in setup
    assert "export RAY_AUTH_MODE=token" in setup
    assert f"export RAY_AUTH_TOKEN_PATH={place}" in setup
    assert "chmod 600 ~/.ray/auth_token" in setup


@pytest.mark.parametrize("name", ["cluster.yaml", "gcp"])
def test_the_head_has_no_gpu_and_gpu_workers_scale_from_none(name: str) -> None:
    config = load(name)
    types = config["available_node_types"]
    head = types.pop(config["head_node_type"])
    machine = head["node_config"].get("InstanceType") or head["node_config"]["machineType"]
    assert not head["resources"].get("GPU")
    assert not re.match(r"(g|p)\d|a[234]-|g[24]-", machine), f"{machine} has a GPU"
    assert head["max_workers"] == 0
    (worker,) = types.values()
    machine = worker["node_config"].get("InstanceType") or worker["node_config"]["machineType"]
    assert re.match(r"(g|p)\d|a[234]-|g[24]-", machine), f"{machine} has no GPU"
    assert worker["min_workers"] == 0
    assert 0 < worker["max_workers"] <= config["max_workers"]
    assert 0 < config["idle_timeout_minutes"] <= 30


@every_config
def test_the_package_is_installed_with_pinned_versions_on_all_nodes(name: str) -> None:
    config = load(name)
    for key in ("head_setup_commands", "worker_setup_commands"):
        (install,) = [command for command in config[key] if " -e " in command]
        assert "-c ~/tastelab/constraints.txt" in install
        (extras,) = re.findall(r"tastelab\[(.*?)\]", install)
        project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
        assert set(extras.split(",")) <= set(project["optional-dependencies"])


@every_config
def test_what_is_mounted_exists_and_suffices_to_build(name: str) -> None:
    mounts = load(name)["file_mounts"]
    local = {str(Path(path)) for path in mounts.values() if not path.startswith("~")}
    assert all((ROOT / path).exists() for path in local)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert {"pyproject.toml", "platform", project["readme"], *project["license-files"]} <= local


@every_config
def test_home_is_on_storage_that_all_nodes_share(name: str) -> None:
    config = load(name)
    assert "export TASTELAB_HOME=/mnt/tastelab/home" in "\n".join(config["initialization_commands"])
    for key in ("head_setup_commands", "worker_setup_commands"):
        assert "mountpoint -q /mnt/tastelab" in "\n".join(config[key])


@every_config
def test_every_command_is_bash(name: str) -> None:
    """Ray runs each as `bash -c "… && (command)"`, where a trailing comment would swallow the parenthesis."""
    for command in commands(load(name)):
        check = subprocess.run(
            ["bash", "-n", "-c", f"true && ({command})"], capture_output=True, text=True, check=False
        )
        assert check.returncode == 0, f"{command}: {check.stderr}"
