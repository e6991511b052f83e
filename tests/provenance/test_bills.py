"""Bills of material and attestations, held against the reference libraries and schemas of their formats."""

from __future__ import annotations

import base64
import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from google.protobuf import json_format
from in_toto_attestation.predicates.provenance.v1 import provenance_pb2
from in_toto_attestation.v1 import statement_pb2
from in_toto_attestation.v1.statement import Statement
from securesystemslib.dsse import Envelope
from securesystemslib.signer import SSlibKey

import modeldb_core
from modeldb_core.cli import program
from modeldb_core.provenance import envelope as envelopes
from modeldb_core.stores.direct import DirectWriter
from modeldb_core.tracking import Client

Modeldb = Callable[..., tuple[int, str]]
PEM, PKCS8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8


@pytest.fixture
def modeldb(client: Client, capsys: pytest.CaptureFixture[str]) -> Modeldb:
    """Run the command line; returns its exit code and all that it wrote."""

    def run(*arguments: str) -> tuple[int, str]:
        capsys.readouterr()
        code = program.run([*arguments, "--url", client.settings.url])
        return code, "".join(capsys.readouterr())

    return run


@pytest.fixture
def model(client: Client) -> str:
    """A version of a registered model, made by a run that used data and a file of another run."""
    with client.start_run("churn", name="prepare") as prepare:
        prepare.log_artifact(b"columns", "columns.txt")
    with client.start_run("churn", name="train", hyperparameters={"lr": 0.1, "deep": {"er": [1, None]}}) as train:
        train.log_dataset([1.0, 2.0], "train", name="customers")
        train.use_artifact(prepare, "columns.txt")
        train.log_metrics({"auc": 0.91, "loss": float("nan")})
        train.log_artifact(b"weights", "model.bin")
    client.flush()
    with DirectWriter(client.store, "ada") as writer:
        code = {"commit": "a" * 40, "remote": "git@example.org:team/churn.git", "dirty": True}
        packages = {"numpy": "2.0", "torch": "2.1+cpu", "ours": "0.1"}
        environment = {
            "python": "3.12.1",
            "packages": packages,
            "package_sources": {"ours": "-e file:///home/ada/ours"},
        }
        writer.apply([_put("run", train.run_id, code=code, environment=environment)])
    modeldb_core.register_model("churn", run=train, artifact="model.bin")
    return "churn@v1"


def _put(kind: str, entity_id: str, **sections: dict[str, Any]) -> Any:
    from modeldb_core.log.changes import UPDATE
    from modeldb_core.log.stream import Entry

    return Entry(UPDATE, kind, entity_id, {"put": sections})


def test_a_bill_of_materials_is_a_valid_ml_bom_and_says_what_is_not_known(modeldb: Modeldb, model: str) -> None:
    validator = JsonStrictValidator(SchemaVersion.V1_6)
    code, text = modeldb("bom", model)
    assert (code, validator.validate_str(text)) == (0, None)
    bom = json.loads(text)
    found = {component["name"]: component for component in bom["components"]}
    assert found["model.bin"]["hashes"] == bom["metadata"]["component"]["hashes"]
    assert found["torch"]["purl"] == "pkg:pypi/torch@2.1%2Bcpu"
    assert "purl" not in found["ours"]
    assert (found["customers"]["type"], found["columns.txt"]["type"]) == ("data", "file")
    card = bom["metadata"]["component"]["modelCard"]
    assert {"type": "auc", "value": "0.91"} in card["quantitativeAnalysis"]["performanceMetrics"]
    assert {"name": "modeldb:hyperparameter:lr", "value": "0.1"} in card["properties"]
    assert card["modelParameters"]["datasets"] == [{"ref": found["customers"]["bom-ref"]}]
    assert bom["metadata"]["component"]["externalReferences"] == [
        {"type": "vcs", "url": "ssh://git@example.org/team/churn.git"}
    ]
    (missing,) = [each["value"] for each in bom["metadata"]["properties"]]
    assert missing.startswith("code: the commit was changed")
    assert bom["compositions"] == [{"aggregate": "incomplete", "assemblies": ["subject"]}]
    assert modeldb("bom", model)[1] == text  # of the same record, the same
    code, text = modeldb("bom", "prepare")
    assert (code, validator.validate_str(text)) == (0, None)
    unknown = [each["value"].partition(":")[0] for each in json.loads(text)["metadata"]["properties"]]
    assert unknown == ["packages", "data", "code"]
    assert modeldb("bom", "customers@v1")[0] == 2


def test_an_attestation_is_signed_and_found_altered(
    client: Client, modeldb: Modeldb, model: str, tmp_path: Path
) -> None:
    keys = []
    for name in ("mine", "other"):
        key = Ed25519PrivateKey.generate()
        (tmp_path / name).write_bytes(key.private_bytes(PEM, PKCS8, serialization.NoEncryption()))
        public = key.public_key().public_bytes(PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        (tmp_path / f"{name}.pub").write_bytes(public)
        keys.append(key)
    signed = tmp_path / "churn.intoto.json"
    assert modeldb("attest", model, "--key", str(tmp_path / "mine"), "-o", str(signed))[0] == 0
    envelope = Envelope.from_dict(json.loads(signed.read_text()))
    envelope.verify([SSlibKey.from_crypto(keys[0].public_key(), keyid=envelopes.key_id(keys[0].public_key()))], 1)
    statement = json_format.Parse(envelope.payload, statement_pb2.Statement())
    Statement.copy_from_pb(statement).validate()
    provenance = json_format.ParseDict(json_format.MessageToDict(statement.predicate), provenance_pb2.Provenance())
    definition = provenance.build_definition
    assert definition.build_type == "urn:modeldb:training:v1"
    assert definition.external_parameters["hyperparameters"]["lr"] == 0.1
    assert {"columns.txt", "customers", "numpy"} <= {each.name for each in definition.resolved_dependencies}

    weights = tmp_path / "weights.bin"
    weights.write_bytes(b"weights")

    def verify(*arguments: str, path: Path = signed, key: str = "mine.pub") -> tuple[int, str]:
        return modeldb("attest", "--verify", str(path), "--key", str(tmp_path / key), *arguments)

    code, text = verify(model, "--file", str(weights))
    assert code == 0
    assert "model.bin" in text
    assert verify(key="mine")[0] == 0  # the public half of it
    assert "none of the 1 signatures" in verify(key="other.pub")[1]
    altered = json.loads(signed.read_text())
    payload = base64.b64decode(altered["payload"]).replace(b"model.bin", b"modul.bin")
    for wrong in ({**altered, "payload": base64.b64encode(payload).decode()}, {**altered, "payload": 7}, [], {}):
        (tmp_path / "wrong.json").write_text(json.dumps(wrong))
        assert verify(path=tmp_path / "wrong.json")[0] == 1
    weights.write_bytes(b"altered")
    assert "no file with that was stated" in verify("--file", str(weights))[1]
    with client.start_run("churn", name="stranger") as stranger:
        stranger.log_artifact(b"other weights", "model.bin")
    client.flush()
    code, text = verify("stranger")
    assert (code, "model.bin: stated with" in text) == (1, True)


def test_what_is_no_key_and_what_has_no_files_is_refused(
    client: Client, modeldb: Modeldb, model: str, tmp_path: Path
) -> None:
    key = tmp_path / "key"
    for content, message in (
        (b"nothing", "holds no private key"),
        (generate_private_key(SECP256R1()).private_bytes(PEM, PKCS8, serialization.NoEncryption()), "another kind"),
    ):
        key.write_bytes(content)
        code, text = modeldb("attest", model, "--key", str(key))
        assert (code, message in text) == (2, True)
    assert modeldb("attest", model, "--key", str(tmp_path / "missing"))[0] == 4
    openssh = serialization.PrivateFormat.OpenSSH
    key.write_bytes(Ed25519PrivateKey.generate().private_bytes(PEM, openssh, serialization.NoEncryption()))
    assert modeldb("attest", model, "--key", str(key))[0] == 0
    with client.start_run("churn", name="empty"):
        pass
    client.flush()
    code, text = modeldb("attest", "empty", "--key", str(key))
    assert (code, "no files on record" in text) == (2, True)


def test_half_of_a_surrogate_pair_in_a_record_stops_no_document(
    client: Client, modeldb: Modeldb, tmp_path: Path
) -> None:
    with client.start_run("churn", name="train") as run:
        run.log_artifact(b"weights", "HALF.bin")
    client.flush()
    owner = client.store.get("run", run.run_id).owner
    with DirectWriter(client.store, "ada") as writer:
        packages = {"HALF": "1.HALF", "numpy": "2.0"}
        writer.apply([_put("run", run.run_id, environment={"packages": packages, "python": "3.12.1"})])
    with closing(sqlite3.connect(tmp_path / "modeldb.db")) as database, database:  # ModelDB itself writes none
        for text in ("HALF", f'"owner":"{owner}'):
            half = f"{text.removesuffix('HALF')}a\\ud800"
            database.execute("UPDATE documents SET document = replace(document, ?, ?)", (text, half))
    assert "\ud800" in client.store.get("run", run.run_id).owner
    key = tmp_path / "key.pem"
    key.write_bytes(Ed25519PrivateKey.generate().private_bytes(PEM, PKCS8, serialization.NoEncryption()))
    found = [modeldb(*arguments) for arguments in (
        ("bom", run.run_id),
        ("bom", run.run_id, "-o", str(tmp_path / "bom.json")),
        ("attest", run.run_id, "--key", str(key)),
        ("export", str(tmp_path / "one.bundle"), "--ro-crate"),
        *(("lineage", run.run_id, "--format", form) for form in ("tree", "json", "dot", "prov", "openlineage")),
    )]  # fmt: skip
    assert [(code, text) for code, text in found if code] == []
    assert "%ED%A0%80" in found[0][1]
