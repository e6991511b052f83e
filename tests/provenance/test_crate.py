"""A bundle that is unpacked is an RO-Crate, held against the reference library."""

from __future__ import annotations

import hashlib
import tarfile
from pathlib import Path

import pytest
from rocrate.rocrate import ROCrate

from modeldb_core.cli import program
from modeldb_core.errors import IntegrityError
from modeldb_core.movement.bundles import Bundle
from modeldb_core.tracking import Client


def test_a_bundle_that_is_unpacked_is_a_crate(client: Client, tmp_path: Path) -> None:
    with client.start_run("churn", name="prepare <&> \u202e") as prepare:
        prepare.log_artifact(b"columns", "columns.txt")
    with client.start_run("churn", name="train", description="the best") as train:
        train.log_dataset([1.0, 2.0], "train", name="customers")
        train.use_artifact(prepare, "columns.txt")
        train.log_artifact(b"weights", "model.bin")
    client.flush()
    bundle, url = tmp_path / "churn.bundle", client.settings.url
    assert program.run(["export", str(bundle), "--ro-crate", "--url", url]) == 0
    with tarfile.open(bundle) as archive:
        archive.extractall(tmp_path / "crate", filter="data")
    crate = ROCrate(tmp_path / "crate")
    files = {entity["name"]: entity for entity in crate.data_entities}
    assert files.keys() == {"columns.txt", "model.bin"}
    for entity in files.values():
        content = (tmp_path / "crate" / entity.id).read_bytes()
        assert hashlib.sha256(content).hexdigest() == entity["sha256"]
    (action,) = [entity for entity in crate.get_by_type("CreateAction") if entity["name"] == "train"]
    assert [entity["name"] for entity in action["object"]] == ["customers", "columns.txt"]
    assert ([entity.id for entity in action["result"]], action["agent"].type) == ([files["model.bin"].id], "Person")
    assert {entity.id for entity in crate.root_dataset["mentions"]} == {
        f"#run-{run.run_id}" for run in (prepare, train)
    }

    assert program.run(["audit", "verify", str(bundle)]) == 0
    assert program.run(["import", str(bundle), "--url", f"sqlite:///{tmp_path}/other.db"]) == 0
    whole = bundle.read_bytes()
    assert whole.count(b'"name": "train"') == 1
    bundle.write_bytes(whole.replace(b'"name": "train"', b'"name": "tr@in"'))
    with pytest.raises(IntegrityError, match="metadata of a crate"):
        Bundle(bundle)
    assert program.run(["export", str(tmp_path / "plain.bundle"), "--no-artifacts", "--ro-crate", "--url", url]) == 0
    with tarfile.open(tmp_path / "plain.bundle") as archive:
        archive.extractall(tmp_path / "plain", filter="data")
    assert not list(ROCrate(tmp_path / "plain").data_entities)
