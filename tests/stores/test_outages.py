"""Every part of a store dies, hangs, or is cut off in mid-sentence while eight processes log.

Training never stops; once the part is back, every value whose call had returned is in the store exactly once.
"""

from __future__ import annotations

import contextlib
import os
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pytest

import modeldb_core as modeldb
from modeldb_core.audit import verify
from modeldb_core.journal.recovery import recover
from tests.services.proxy import Proxy
from tests.waiting import wait_until

PROCESSES = 8
SCRIPT = Path(__file__).with_name("logging_process.py")


class Service(Protocol):
    """A part that can be killed and started again."""

    port: int

    def kill(self) -> None: ...
    def start(self) -> None: ...


@dataclass
class World:
    """A configuration, the part of it that fails, and the network in between."""

    service: Service
    proxy: Proxy
    variables: dict[str, str]
    closing: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)


class Training:
    """Eight processes that log."""

    def __init__(self, world: World, folder: Path) -> None:
        self._stop = folder / "stop"
        self._counters = [folder / f"counter-{number}" for number in range(PROCESSES)]
        self._processes = []
        for number, counter in enumerate(self._counters):
            counter.write_bytes(bytes(16))
            variables = {"NAME": str(number), "COUNTER": str(counter), "STOP": str(self._stop)}
            self._processes.append(
                subprocess.Popen(
                    [sys.executable, str(SCRIPT)],
                    env={**os.environ, **world.variables, **variables},
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                )
            )
        self.run_ids = [process.stdout.readline().strip() for process in self._processes]  # type: ignore[union-attr]

    def counts(self) -> list[int]:
        """Return how many calls of each process have returned."""
        return [struct.unpack_from("<q", counter.read_bytes())[0] for counter in self._counters]

    def wait_for(self, more: int) -> None:
        """Wait until each process has logged ``more`` points than now: none of them may have stopped."""
        wanted = [count + more for count in self.counts()]
        wait_until(lambda: all(now >= then for now, then in zip(self.counts(), wanted, strict=True)), self.state)

    def finish(self) -> list[str]:
        """Let them end; return what they said."""
        self._stop.touch()
        said = []
        for process in self._processes:
            _, errors = process.communicate(timeout=500)
            assert process.returncode == 0, errors
            said.append(errors)
        return said

    def kill(self) -> None:
        for process in self._processes:
            if process.poll() is None:
                process.kill()
                process.communicate()

    def state(self) -> str:
        return f"counts {self.counts()}, ended {[process.poll() for process in self._processes]}"


@pytest.fixture
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    made = WORLDS[request.param](request, tmp_path)
    with made.closing:
        made.variables |= {
            "MODELDB_JOURNAL_DIR": str(tmp_path / "journals"),
            "MODELDB_CACHE_DIR": str(tmp_path / "cache"),
            "MODELDB_FLUSH_INTERVAL_S": "0.2",
            "MODELDB_EXIT_TIMEOUT_S": "400",
            "MODELDB_LEASE_S": "300",
        }
        yield made


@pytest.fixture
def training(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Training]:
    for name, value in world.variables.items():
        monkeypatch.setenv(name, value)
    processes = Training(world, tmp_path)
    yield processes
    world.proxy.mode = "pass"
    processes.kill()


def postgres_world(request: pytest.FixtureRequest, tmp_path: Path) -> World:
    from tests.services.postgres import Postgres

    service = Postgres()
    closing = contextlib.ExitStack()
    closing.callback(service.stop)
    url = service.new_database()
    proxy = Proxy(service.port)
    closing.callback(proxy.close)
    url = url.replace(f":{service.port}/", f":{proxy.port}/") + "?timeout_s=3"
    return World(service, proxy, {"MODELDB_URL": url, "MODELDB_ARTIFACT_URL": f"file://{tmp_path}/artifacts"}, closing)


def bucket_world(request: pytest.FixtureRequest, tmp_path: Path) -> World:
    del request, tmp_path
    from tests.services.s3 import SeaweedFS

    service = SeaweedFS()
    closing = contextlib.ExitStack()
    closing.callback(service.stop)
    bucket = service.new_bucket()
    proxy = Proxy(service.port)
    closing.callback(proxy.close)
    variables = {**service.environment, "AWS_ENDPOINT_URL_S3": f"http://127.0.0.1:{proxy.port}"}
    url = f"s3://{bucket}/models?connect_timeout_s=2&read_timeout_s=3&max_attempts=2"
    return World(service, proxy, {"MODELDB_URL": url, **variables}, closing)


def server_world(request: pytest.FixtureRequest, tmp_path: Path) -> World:
    del request, tmp_path
    from tests.services.server import TOKEN, ModelDBServer

    service = ModelDBServer()
    closing = contextlib.ExitStack()
    closing.callback(service.stop)
    proxy = Proxy(service.port)
    closing.callback(proxy.close)
    url = f"http://127.0.0.1:{proxy.port}?timeout_s=3&retry_s=0.2"
    return World(service, proxy, {"MODELDB_URL": url, "MODELDB_TOKEN": TOKEN}, closing)


WORLDS: dict[str, Callable[[pytest.FixtureRequest, Path], World]] = {
    "postgres": postgres_world,
    "bucket": bucket_world,
    "server": server_world,
}


def kill(world: World, training: Training) -> None:
    world.service.kill()
    training.wait_for(200)
    wait_until(lambda: world.proxy.unreached > 0, lambda: f"nobody asked for it, {training.state()}")
    world.service.start()


def hang(world: World, training: Training) -> None:
    world.proxy.mode = "hang"
    training.wait_for(200)
    wait_until(lambda: world.proxy.held > 0, lambda: f"nothing was sent, {training.state()}")
    training.wait_for(50)
    world.proxy.mode = "pass"


def cut(world: World, training: Training) -> None:
    world.proxy.cut_after = 3000
    world.proxy.mode = "cut"
    wait_until(lambda: world.proxy.cuts >= 2 * PROCESSES, lambda: f"{world.proxy.cuts} cuts, {training.state()}")
    training.wait_for(50)
    world.proxy.mode = "pass"


@pytest.mark.slow
@pytest.mark.timeout(1500)
@pytest.mark.parametrize(
    "world", ["server", pytest.param("postgres", marks=pytest.mark.thorough), "bucket"], indirect=True
)
def test_nothing_is_lost_or_doubled_and_training_goes_on(world: World, training: Training, tmp_path: Path) -> None:
    training.wait_for(100)
    for outage in (kill, cut, hang):
        outage(world, training)
        training.wait_for(100)
    said = training.finish()
    for text in said:
        assert "Traceback" not in text, text
        assert "This is a fault" not in text, text
        assert "secret" not in text
        assert "a-token" not in text
    with modeldb.connect() as client:
        # What a process could not ship while it ended, the next one does.
        recover(client.settings.journal_dir, client.store.url, client.store, lambda: client.artifacts)
        check_runs(client, training)
        assert verify(client.store).findings == []
    assert not list((tmp_path / "journals").glob("*/*.journal"))


def check_runs(client: Any, training: Training) -> None:
    runs = {run.run_id: run for run in client.search_runs(project="outage", limit=100)}
    assert sorted(runs) == sorted(training.run_ids)
    for number, (run_id, count) in enumerate(zip(training.run_ids, training.counts(), strict=True)):
        run = client.get_run(run_id)
        assert run.status == "finished"
        assert run.hyperparameters == {"number": number}
        assert run.metrics["steps"] == count
        for key, factor in (("loss", 0.5), ("accuracy", -1)):
            history = run.history(key)
            assert np.array_equal(history.steps, np.arange(count))
            assert np.array_equal(history.values, np.arange(count) * factor)
