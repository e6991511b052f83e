"""A server of the v1 API, asked over HTTP and over gRPC, and what tests of its calls need to exist."""

from __future__ import annotations

import itertools
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode

import grpc
from google.protobuf import json_format

from modeldb_core.backends.blobs import FsspecArtifactStore
from modeldb_core.plugins import open_store
from modeldb_server import Server, ServerSettings, create_app
from modeldb_v1.schema import call_named

WRITER, READER, STRANGER = "a-token-that-may-write", "a-token-that-may-read-1", "a-token-from-elsewhere"
"""Tokens: of ada, of ben, and of eve, who may write, in a workspace where nothing of theirs is."""
UNKNOWN_ID = "0197f3c2-0000-7000-8000-00000000dead"
"""An identifier of nothing."""
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_SHA = re.compile(r"[0-9a-f]{64}")
_NAME = re.compile(r"\bname-\d+\b")
_NUMBER = re.compile(r"[ -]\d+\b")
_NAMING = frozenset({"key", "name", "short_name"})
_HOST = re.compile(r"(?<=^http://)[^/]+")
_TIMES = re.compile(r"(^|_)(date|time|timestamp)(_|$)")


class Reply(NamedTuple):
    """What a call was answered: the code of gRPC, 0 for success, and the message or what went wrong."""

    code: int
    data: dict[str, Any]
    message: str = ""


class World:
    """Makes calls, and whatever they need, through the calls themselves. Everything that is made is new."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.http = server.app.test_client()
        self.channel = grpc.insecure_channel(server.beside[0].url.partition("://")[2])
        self._numbers = itertools.count()

    def over_http(self, name: str, arguments: Any, token: str = WRITER) -> Reply:
        """Make a call over HTTP with arguments as JSON has them."""
        call = call_named(name)
        binding = next((each for each in call.bindings if _has(arguments, each.variables)), call.bindings[-1])
        path, given = binding.paths[0], json.loads(json.dumps(arguments))
        for variable in binding.variables:
            path = path.replace(f"{{{variable}}}", quote(str(_take(given, variable)), safe=""))
        options: dict[str, Any] = {}
        if binding.body == "*":
            options["json"] = given
        elif binding.body:
            options["json"] = given.get(binding.body, {})
        else:
            path += "?" + urlencode(list(_query(given, "")))
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        answer = self.http.open(path, method=binding.verb, headers=headers, base_url="http://127.0.0.1", **options)
        data = answer.get_json()
        return Reply(0, data) if answer.status_code == 200 else Reply(data["code"], {}, data["message"])

    def over_grpc(self, name: str, arguments: Any, token: str = WRITER) -> Reply:
        """Make a call over gRPC with arguments as JSON has them."""
        call = call_named(name)
        try:
            message = json_format.ParseDict(arguments, call.request())
        except json_format.ParseError as error:  # a client of gRPC cannot send that
            return Reply(3, {}, str(error))
        ask = self.channel.unary_unary(
            f"/{call.service}/{call.method}",
            request_serializer=lambda request: request.SerializeToString(),
            response_deserializer=call.response.FromString,
        )
        try:
            answer = ask(message, timeout=120, metadata=[("authorization", f"Bearer {token}")] if token else [])
        except grpc.RpcError as error:
            return Reply(error.code().value[0], {}, error.details())
        return Reply(0, json_format.MessageToDict(answer, preserving_proto_field_name=True))

    def make(self, name: str, /, **arguments: Any) -> dict[str, Any]:
        """Make a call that must succeed, and return what it was answered."""
        reply = self.over_http(name, arguments)
        assert reply.code == 0, (name, arguments, reply)
        return reply.data

    def name(self) -> str:
        """Return a name that nothing has."""
        return f"name-{next(self._numbers)}"

    def project(self, **fields: Any) -> str:
        """Return the identifier of a new project."""
        return self.make("ProjectService.createProject", name=self.name(), **fields)["project"]["id"]

    def experiment(self, project_id: str = "", **fields: Any) -> str:
        """Return the identifier of a new experiment."""
        where = project_id or self.project()
        made = self.make("ExperimentService.createExperiment", project_id=where, name=self.name(), **fields)
        return made["experiment"]["id"]

    def run(self, experiment_id: str = "", **fields: Any) -> str:
        """Return the identifier of a new run."""
        where = experiment_id or self.experiment()
        project_id = self.make("ExperimentService.getExperimentById", id=where)["experiment"]["project_id"]
        made = self.make(
            "ExperimentRunService.createExperimentRun",
            project_id=project_id,
            experiment_id=where,
            name=self.name(),
            **fields,
        )
        return made["experiment_run"]["id"]

    def dataset(self, dataset_type: str = "PATH", **fields: Any) -> str:
        """Return the identifier of a new data set."""
        made = self.make("DatasetService.createDataset", name=self.name(), dataset_type=dataset_type, **fields)
        return made["dataset"]["id"]

    def dataset_version(self, dataset_id: str = "", **fields: Any) -> str:
        """Return the identifier of a new version of a data set of paths."""
        where = dataset_id or self.dataset()
        info = {"base_path": f"/data/{self.name()}", "size": "1"}
        made = self.make(
            "DatasetVersionService.createDatasetVersion",
            **{"dataset_id": where, "dataset_type": "PATH", "path_dataset_version_info": info, **fields},
        )
        return made["dataset_version"]["id"]

    def repository(self) -> str:
        """Return the number of a new repository."""
        made = self.make(
            "VersioningService.createRepository",
            id={"named_id": {"workspace_name": "personal", "name": self.name()}},
            repository={"name": self.name()},
        )
        return made["repository"]["id"]


@contextmanager
def running_world(folder: Any, url: str = "memory://", **settings: Any) -> Iterator[World]:
    """Run a server with gRPC beside it, on a store of its own."""
    chosen: dict[str, Any] = {"port": 0, "grpc_port": 0, "scopes": ("eve=elsewhere",)}
    chosen |= {"tokens": (f"ada:{WRITER}", f"eve:{STRANGER}"), "read_tokens": (f"ben:{READER}",), **settings}
    with open_store(url) as store:
        artifacts = FsspecArtifactStore(f"file://{folder}/blobs")
        app = create_app(store, artifacts, ServerSettings(**chosen))
        server = Server(app)
        thread = threading.Thread(target=server.run)
        thread.start()
        world = World(server)
        try:
            yield world
        finally:
            world.channel.close()
            server.stop()
            thread.join(60)
            artifacts.close()


def comparable(data: Any, key: str = "") -> Any:
    """Return an answer without what differs between two like calls: identifiers, times, numbers in names, hosts in URLs."""
    if isinstance(data, dict):
        return {name: comparable(value, name) for name, value in data.items()}
    if isinstance(data, list):
        return [comparable(value, key) for value in data]
    if isinstance(data, str) and (_TIMES.search(key) and data.isdigit()):
        return "<time>"
    if isinstance(data, str) and key.endswith("id") and data.isdigit():
        return "<number>"
    if isinstance(data, str):
        for pattern in (_UUID, _SHA, _NAME):
            data = pattern.sub(f"<{pattern.pattern[:8]}>", data)
        if key in _NAMING:
            data = _NUMBER.sub("", data)
        if key == "url":
            data = _HOST.sub("<host>", data)
    return data


def _has(arguments: Any, variables: tuple[str, ...]) -> bool:
    for variable in variables:
        inner: Any = arguments
        for part in variable.split("."):
            inner = inner.get(part) if isinstance(inner, dict) else None
        if inner in (None, ""):
            return False
    return True


def _take(data: Any, variable: str) -> Any:
    *above, last = variable.split(".")
    for part in above:
        data = data.get(part, {}) if isinstance(data, dict) else {}
    return data.pop(last, "") if isinstance(data, dict) else ""


def _query(data: dict[str, Any], above: str) -> Iterator[tuple[str, str]]:
    """Iterate over names and texts of a query string, as the original client writes them."""
    for name, value in data.items():
        if isinstance(value, dict):
            yield from _query(value, f"{above}{name}.")
        elif isinstance(value, list):
            yield from ((f"{above}{name}", str(each)) for each in value)
        else:
            yield f"{above}{name}", str(value)
