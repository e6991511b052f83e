"""The chart's manifests, rendered by Go's own templates (render/main.go), for the values of typical installations."""

from __future__ import annotations

import json
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
CHART = ROOT / "deploy" / "helm" / "modeldb"
RENDERER = Path(__file__).with_name("render")

LEAST: dict[str, Any] = {
    "database": {
        "url": "postgresql://modeldb@db.example.org/modeldb?sslmode=verify-full",
        "secret": "modeldb-database",
    },
    "bucket": {"url": "s3://models/artifacts", "secret": "modeldb-bucket"},
    "tokens": {"secret": "modeldb-tokens"},
}
EVERYTHING: dict[str, Any] = {
    **LEAST,
    "image": {
        "repository": "registry.example.org/modeldb",
        "digest": f"sha256:{'0' * 64}",
        "pullSecrets": [{"name": "registry"}],
    },
    "bucket": {"url": "s3://models", "endpoint": "https://s3.example.org", "secret": ""},
    "tokens": {"secret": "modeldb-tokens", "writeKey": "write", "readKey": "read", "eraseKey": "erase"},
    "server": {
        "basePath": "/models",
        "allowedHosts": ["models.example.org"],
        "allowedOrigins": ["https://dashboard.example.org"],
        "trustedProxy": "10.0.0.0/8",
        "grpc": True,
        "environment": {"MODELDB_RESTORE_WINDOW_DAYS": "90"},
    },
    "ingress": {
        "enabled": True,
        "className": "nginx",
        "host": "example.org",
        "tlsSecret": "tls",
        "annotations": {"a/b": "c"},
    },
    "serviceAccount": {"annotations": {"eks.amazonaws.com/role-arn": "arn:aws:iam::1:role/modeldb"}},
    "networkPolicy": {
        "from": [{"podSelector": {}}],
        "to": [{"ipBlock": {"cidr": "10.0.0.0/8"}}],
        "ports": [5432, 443, 9000],
    },
    "metrics": {"serviceMonitor": True, "tokenSecret": "modeldb-metrics"},
    "podAnnotations": {"a": "b"},
    "podLabels": {"team": "growth"},
    "nodeSelector": {"disk": "ssd"},
    "tolerations": [{"key": "models", "operator": "Exists"}],
    "affinity": {"nodeAffinity": {}},
}
FIXED: dict[str, Any] = {
    **LEAST,
    "autoscaling": {"enabled": False},
    "networkPolicy": {"enabled": False},
    "migrations": {"enabled": False},
}
INSTALLATIONS = {"least": LEAST, "everything": EVERYTHING, "fixed": FIXED}


def merged(defaults: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """Return values as Helm puts them together: maps key by key, everything else in place of the default."""
    both = {
        key: merged(defaults[key], value) if isinstance(value, dict) and isinstance(defaults.get(key), dict) else value
        for key, value in given.items()
    }
    return {**defaults, **both}


def values_of(given: dict[str, Any]) -> dict[str, Any]:
    """Return the values of an installation, the chart's defaults included."""
    return merged(yaml.safe_load((CHART / "values.yaml").read_text("utf-8")), given)


@cache
def _renderer(go: str, folder: str) -> str:
    program = str(Path(folder) / "render")
    environment = {
        "GOCACHE": f"{folder}/cache",
        "GOPATH": f"{folder}/path",
        "HOME": folder,
        "PATH": "/usr/bin:/bin",
        "GOTOOLCHAIN": "local",
    }
    subprocess.run([go, "build", "-o", program, "."], cwd=RENDERER, check=True, env=environment)
    return program


def render(given: dict[str, Any], go: str, folder: Path) -> tuple[str, str]:
    """Return the manifests of an installation as YAML, and what Go says where there is something wrong with them."""
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text("utf-8"))
    data = {
        "Values": values_of(given),
        "Release": {"Name": "modeldb", "Namespace": "ml", "Service": "Helm"},
        "Chart": {key[0].upper() + key[1:]: value for key, value in chart.items()},
        "files": {path.name: path.read_text("utf-8") for path in (CHART / "templates").iterdir()},
    }
    done = subprocess.run(
        [_renderer(go, str(folder))], input=json.dumps(data), capture_output=True, text=True, check=False
    )
    return done.stdout, done.stderr
