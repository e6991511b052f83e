"""The deployment files as the tools of others see them: `tox -e deploy` installs those and runs this.

Go's templates render the chart; the manifests are held against the schemas of Kubernetes and the policies of checkov, the Dockerfile against
hadolint's. Nothing is installed into a cluster, and no image is built: that needs Docker.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.manifests import CHART, INSTALLATIONS, LEAST, ROOT, merged, render

pytestmark = pytest.mark.timeout(1800)  # building Go's part and checkov take minutes each on a busy machine

PROGRAMS = Path(sys.executable).parent
GO, HADOLINT, CHECKOV = (str(PROGRAMS / name) for name in ("go", "hadolint", "checkov"))
KUBERNETES = ("1.27", "1.33")
ARGUED = {
    "CKV_K8S_15": "an image has the tag of its version, or a digest: what was pulled is what is named",
    "CKV_K8S_35": "the server takes its secrets from variables, as libpq and the S3 client do",
    "CKV_K8S_40": "10001 is a user of the image; checkov wants more than 10,000",
    "CKV_K8S_43": "a digest is given in values; the default is the version of the chart",
    "CKV_K8S_11": "a limit of processor time stops a server that has something to do, while others have nothing",
    "CKV2_K8S_6": "the policy covers all pods of the chart",
}
"""Checks that do not hold, and why."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("go")


def manifests(given: dict[str, Any], folder: Path) -> list[dict[str, Any]]:
    text, errors = render(given, GO, folder)
    assert errors == ""
    parts = [part for part in text.split("---\n# Source: ") if part and not part.startswith("NOTES.txt")]
    return [yaml.safe_load(part.partition("\n")[2]) for part in parts]


@pytest.mark.parametrize("version", KUBERNETES)
@pytest.mark.parametrize("name", INSTALLATIONS)
def test_the_manifests_are_those_of_kubernetes(name: str, version: str, folder: Path) -> None:
    import kubernetes_validate

    found = manifests(INSTALLATIONS[name], folder)
    kinds = {each["kind"] for each in found}
    assert {"Deployment", "Service", "ServiceAccount", "PodDisruptionBudget"} <= kinds
    assert ("HorizontalPodAutoscaler" in kinds) is ("Job" in kinds) is ("NetworkPolicy" in kinds) is (name != "fixed")
    assert ("Ingress" in kinds) is ("ServiceMonitor" in kinds) is (name == "everything")
    for each in found:
        if each["kind"] != "ServiceMonitor":  # of the Prometheus operator
            kubernetes_validate.validate(each, version, strict=True)
        assert each["metadata"]["namespace"] == "ml"


def test_what_is_needed_is_asked_for(folder: Path) -> None:
    for missing, word in (
        ({"database": {"url": ""}}, "database.url"),
        ({"bucket": {"url": ""}}, "bucket.url"),
        ({"tokens": {"secret": ""}}, "tokens.secret"),
    ):
        text, errors = render(merged(LEAST, missing), GO, folder)
        assert word in errors, text


def test_the_variables_of_the_containers_are_what_the_values_say(folder: Path) -> None:
    (deployment,) = [each for each in manifests(INSTALLATIONS["everything"], folder) if each["kind"] == "Deployment"]
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    found = {each["name"]: each.get("value") for each in container["env"]}
    assert found["MODELDB_SERVER_ALLOWED_HOSTS"] == "modeldb,modeldb.ml,modeldb.ml.svc,models.example.org,example.org"
    assert found["MODELDB_SERVER_BASE_PATH"] == "/models"
    assert found["MODELDB_RESTORE_WINDOW_DAYS"] == "90"
    assert found["MODELDB_SERVER_GRPC_PORT"] == "5001"
    assert {name for name, value in found.items() if value is None} == {
        "PGPASSWORD",
        "MODELDB_SERVER_TOKENS",
        "MODELDB_SERVER_READ_TOKENS",
        "MODELDB_SERVER_ERASE_TOKENS",
    }
    assert len(found) == len(container["env"])
    assert deployment["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] == 45


def test_checkov_finds_nothing_that_is_not_argued(folder: Path, tmp_path: Path) -> None:
    for name, given in INSTALLATIONS.items():
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump_all(manifests(given, folder)), "utf-8")
    (tmp_path / "Dockerfile").write_text((ROOT / "Dockerfile").read_text("utf-8"), "utf-8")
    command = [
        CHECKOV,
        "-d",
        str(tmp_path),
        "--framework",
        "kubernetes",
        "dockerfile",
        "-o",
        "json",
        "--quiet",
        "--compact",
        "--soft-fail",
    ]
    reports = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    reports = reports if isinstance(reports, list) else [reports]
    assert sum(report["summary"]["passed"] for report in reports) > 100
    failed = {
        check["check_id"]: (check["check_name"], check["resource"])
        for report in reports
        for check in report["results"]["failed_checks"]
    }
    assert {number: failed[number] for number in failed if number not in ARGUED} == {}


def test_hadolint_finds_nothing() -> None:
    done = subprocess.run(
        [HADOLINT, "--ignore", "DL3008", "Dockerfile"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "")


def test_the_chart_has_no_file_that_helm_would_not_take() -> None:
    assert {path.name for path in CHART.iterdir()} == {
        ".helmignore",
        "Chart.yaml",
        "values.yaml",
        "values.schema.json",
        "templates",
    }
