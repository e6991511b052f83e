"""A training script that logs something of everything, and more than forty questions to ask of the store it logged to.

:func:`train` runs the script with a client, :func:`answers` asks the questions and returns plain text by question, to be
compared. Two stores that hold the same changes answer the same, letter for letter. Two stores to which the script was
run apart differ in identifiers and times only: ``exactly=False`` writes names in place of identifiers and leaves times
out.
"""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import numpy as np

from modeldb_core.errors import ModelDBError
from modeldb_core.log.changes import APPEND, CREATE, STREAM, UPDATE
from modeldb_core.log.json_documents import change_document, entity_document
from modeldb_core.model.entities import derived_id
from modeldb_core.model.schema import KINDS
from modeldb_core.queries import Query
from modeldb_core.testing.entities import VALUES

if TYPE_CHECKING:
    from modeldb_core.stores import MetadataStore
    from modeldb_core.tracking import Client

NAMES = tuple(f"run {number:02d}" for number in range(16))
_VALUES = {key: value for key, value in VALUES.items() if key != "blob"}  # there is no such blob
_BEGIN = 1_750_000_000  # seconds since 1970: the times of points are the script's own
_TIMES = frozenset(
    {"created_at", "updated_at", "started_at", "finished_at", "deleted_at", "recorded_at", "duration_s", "hash"}
    | {"previous_hash"}
)


# -- the script -------------------------------------------------------------------------------------------------------


def train(client: Client) -> None:
    """Log runs of every sort, and alter some of them afterwards."""
    generator = random.Random(7)
    for number, name in enumerate(NAMES):
        project, experiment = ("churn", "prices", "naïve 日本語")[number % 3], ("forest", "linear")[number % 2]
        run = client.start_run(project, experiment, name, tags=["all", f"t{number % 4}"], description=f"no. {number}")
        run.log_hyperparameters(
            {
                "lr": 10.0 ** -(number % 5),
                "depth": number % 7,
                "kind": ("a", "B", "c%_")[number % 3],
                "seed": 2**53 + number,
            }
        )
        if number % 2:
            run.log_hyperparameters({"bootstrap": number % 4 == 1, "nested": {"a": {"b": number}, "list": [1, None]}})
        run.log_metrics({"auc": generator.random(), "n": number})
        for step in range(50 * (number % 4)):
            values = {"loss": math.exp(-step / 30) + number, "acc": generator.random()}
            if step % 17 == 3:
                values["loss"] = math.nan
            run.log_metrics(values, step=step // 2 if number % 3 else -step, timestamp=_BEGIN + 1000 * number + step)
        run.set_attributes({"team": "growth" if number % 2 else "core", "empty": None})
        if number % 5 == 0:
            run.log_artifact(f"content of {name}".encode(), name="notes/a.txt")
        if number % 8 != 7:
            run.finish(("finished", "failed", "killed")[number % 3])
    _alter(client)


def _alter(client: Client) -> None:
    client.flush()
    found = {run.name: run for run in client.search_runs(limit=1000)}
    with client.start_run("churn", "forest", "rich", tags=["best", "best", "käse"]) as rich:
        rich.log_hyperparameters(_VALUES)
        rich.set_attributes({"large": "x" * 100_000, "values": _VALUES})
        rich.log_metrics({"nan": math.nan, "inf": math.inf, "auc": 1.0, "huge": 2**70})
        rich.log_metrics({"spiky": 1e300, "zero": -0.0}, step=2**62, timestamp=_BEGIN)
        rich.log_metrics({"spiky": -1e300, "zero": 0.0}, step=-(2**62), timestamp=_BEGIN + 1)
        rich.log_dataset(np.arange(12.0).reshape(3, 4), "train")
        rich.log_artifact({"a": [1, 2]}, name="config.json")
        rich.comment("have a look")
        rich.note("something was left out")
        with rich.start_child("child 1") as child:
            child.log_metrics({"loss": 0.5}, step=1, timestamp=_BEGIN)
        rich.start_child("child 2", tags=["fold"]).finish("failed")
    found["run 02"].add_tags("late")
    found["run 02"].remove_tags("all")
    found["run 03"].set_description('it\'s "quoted" \\ and\nlong')
    found["run 04"].set_attributes({"team": {"moved": True}})
    found["run 05"].comment("not this one")
    for name in ("run 06", "run 09"):
        found[name].delete()
    client.flush()
    found["run 09"].restore()
    client.trash.delete_experiment("prices", "linear", recursive=True)
    client.flush()


# -- the questions ----------------------------------------------------------------------------------------------------


def answers(store: MetadataStore, *, exactly: bool = True) -> dict[str, str]:
    """Ask everything; return the answers as text by question. An error is an answer too."""
    asked = _Asked(store)
    plain = _plainly if exactly else asked.by_name
    found: dict[str, str] = {}
    for title, question in asked.questions(exactly=exactly).items():
        try:
            answer: Any = question()
        except ModelDBError as error:
            answer = {"error": type(error).__name__}
        found[title] = json.dumps(plain(answer), indent=1, ensure_ascii=False, sort_keys=True)
    assert len(found) > 40, len(found)
    return found


class _Asked:
    """A store that is asked, and the names of what is in it."""

    def __init__(self, store: MetadataStore) -> None:
        self.store = store
        self.workspace_id = derived_id("workspace", "", "default")
        self.projects = {name: derived_id("project", self.workspace_id, name) for name in ("churn", "prices")}
        self.forest = derived_id("experiment", self.projects["churn"], "forest")
        everything = store.find(Query(limit=1000, include_deleted=True)).entities
        self.runs = {run.name: run.entity_id for run in everything}
        self._names = {run_id: f"<{name}>" for name, run_id in self.runs.items()}
        self._names.update(dict.fromkeys(store.heads(), "<stream>"))
        for number, comment in enumerate(store.find(Query("comment", order_by="message", limit=1000)).entities):
            self._names[comment.entity_id] = f"<comment {number}>"

    def by_name(self, answer: Any) -> Any:
        """Return an answer without what differs from one run of the script to the next."""
        return _plainly(answer, self._names)

    def find(self, filter: str = "", order_by: str = "name", kind: str = "run", **options: Any) -> Callable[[], Any]:
        """Return a question for all pages of a query."""

        def ask() -> Any:
            query = Query(kind, filter, order_by, count=True, **options)
            pages, cursor = [], None
            while True:
                page = self.store.find(Query(kind, filter, order_by, count=True, cursor=cursor, **options))
                pages.append({"total": page.total, "entities": [entity_document(item) for item in page.entities]})
                cursor = page.cursor
                if cursor is None or not query.limit:
                    return pages

        return ask

    def keys(self, filter: str = "", **options: Any) -> Callable[[], Any]:
        """Return a question for keys."""

        def ask() -> Any:
            return [
                [info.section, info.key, info.count, info.value_types]
                for info in self.store.find_keys(Query(filter=filter, **options))
            ]

        return ask

    def series(self, name: str, key: str, **options: Any) -> Callable[[], Any]:
        """Return a question for points."""

        def ask() -> Any:
            found = self.store.read_series(self.runs.get(name, name), key, **options)
            columns = {field.name: getattr(found, field.name) for field in fields(found)}
            return {
                what: [_number(item) for item in column.tolist()] if isinstance(column, np.ndarray) else column
                for what, column in columns.items()
            }

        return ask

    def get(self, kind: str, entity_id: str) -> Callable[[], Any]:
        """Return a question for one entity."""
        return lambda: entity_document(self.store.get(kind, entity_id))

    def first_of(self, kind: str) -> Callable[[], Any]:
        """Return a question for one entity of a kind, whichever comes first by its name."""

        def ask() -> Any:
            page = self.store.find(Query(kind, order_by="name, created_at", limit=1))
            return [entity_document(self.store.get(kind, entity.entity_id)) for entity in page.entities]

        return ask

    def changes(self, *, exactly: bool, **options: Any) -> Callable[[], Any]:
        """Return a question for the log. How it is cut into batches is a matter of time, and left out if not exactly."""

        def ask() -> Any:
            found, cursor = [], 0
            while True:
                page = self.store.read_changes(after=cursor, limit=37, **options)
                found += page.changes
                cursor = page.cursor
                if not page.changes:
                    break
            if exactly:
                return [change_document(change) for change in found]
            created: set[str] = set()
            told = []
            for change in found:
                is_again = change.action == CREATE and change.entity_id in created  # each batch declares its containers
                if change.kind != STREAM and change.action != APPEND and not is_again:
                    told.append(change)
                if change.action == CREATE:
                    created.add(change.entity_id)
            told.sort(
                key=lambda change: (change.kind, change.action) == ("dataset_version", UPDATE)
            )  # numbers come by time
            kept = ("actor", "action", "kind", "entity_id", "data", "erased")
            return [{name: change_document(change)[name] for name in kept} for change in told]

        return ask

    def heads(self, *, exactly: bool) -> Callable[[], Any]:
        """Return a question for the heads."""

        def ask() -> Any:
            heads = self.store.heads()
            if not exactly:
                return sorted(head.closed for head in heads.values())
            return {
                name: [head.seq, head.hash.hex(), head.recorded_at, head.lease_s, head.closed]
                for name, head in heads.items()
            }

        return ask

    def questions(self, *, exactly: bool) -> dict[str, Callable[[], Any]]:
        """Return the questions by what they ask."""
        find, keys, series = self.find, self.keys, self.series
        churn, in_churn = self.projects["churn"], {"within": self.projects["churn"]}
        return {
            "every run": find(),
            "every run, deleted ones too": find(include_deleted=True),
            "the newest first": find(order_by="", fields=()),
            "pages of three": find(order_by="metrics.auc desc, name", limit=3, fields=("metrics.auc",)),
            "pages of one by a key that few have": find(
                order_by="hyperparameters.nested.a.b, name desc", limit=1, fields=()
            ),
            "only a count": find(limit=0),
            "runs of a project": find(**in_churn),
            "runs of an experiment": find(within=self.forest, order_by="metrics.n"),
            "runs of no container": find(within="nowhere"),
            "a number": find("metrics.auc > 0.5"),
            "numbers of a series": find("metrics.loss.min < 5 and metrics.loss.count >= 100"),
            "the mean of a series": find("metrics.acc.mean > 0.4", "metrics.acc.mean"),
            "not a number": find("metrics.nan = nan"),
            "infinity": find("metrics.inf = inf or metrics.spiky.max > 1e299"),
            "an integer beyond floats": find(f"hyperparameters.seed = {2**53 + 3}"),
            "text": find('hyperparameters.kind = "B"'),
            "text by a pattern": find("name like 'RUN 1_' and description startswith 'no.'"),
            "text with signs of a pattern": find("hyperparameters.kind contains '%_'"),
            "truth": find("hyperparameters.bootstrap = true"),
            "nothing": find("attributes.empty is null and attributes.large not exists"),
            "a nested map": find("hyperparameters.nested.a.b >= 7"),
            "a moved map": find("attributes.team.moved = true"),
            "odd keys": find(
                'hyperparameters."schlüssel 🔑" exists or hyperparameters."sql\'; drop table entities; --" exists'
            ),
            "tags": find('tags contains "t1" and not (tags contains "late")'),
            "several tags": find("tags in ('best', 'fold', 'käse')"),
            "a status": find("status in ('failed', 'killed')", "status, name"),
            "names of containers": find("project = 'naïve 日本語' and experiment like 'F%'"),
            "negation": find("not (metrics.auc > 0.5 or hyperparameters.depth in (1, 2))"),
            "children": find(f"parent_id = '{self.runs['rich']}'"),
            "no parent": find("parent_id is null", "name desc", limit=5, fields=("parent_id",)),
            "artifacts": find("artifacts.'notes/a.txt' exists", fields=("artifacts",)),
            "a data set of a run": find("datasets.train exists"),
            "order by text, then number": find(order_by="hyperparameters.kind desc, metrics.auc"),
            "order by several types": find(order_by="attributes.team, name", fields=("attributes.team",)),
            "fields of maps": find(fields=("metrics.loss", "hyperparameters.nested.a", "tags", "series")),
            "projects": find(kind="project"),
            "experiments, deleted ones too": find(kind="experiment", include_deleted=True, order_by="name, project"),
            "comments of a run": find(kind="comment", within=self.runs["rich"], order_by="message"),
            "keys of all runs": keys(limit=1000),
            "keys of some runs": keys("metrics.loss exists", limit=5, **in_churn),
            "a whole series": series("run 03", "loss"),
            "a series with steps that repeat": series("run 02", "acc"),
            "some steps of a series": series("run 03", "acc", steps=(-20, -3)),
            "a series thinned out": series("run 07", "loss", max_points=20),
            "a series of extremes": series("rich", "spiky"),
            "a series of zeros": series("rich", "zero"),
            "a run with every value": self.get("run", self.runs["rich"]),
            "a run that is deleted": self.get("run", self.runs["run 06"]),
            "a project": self.get("project", churn),
            **{f"one {kind}": self.first_of(kind) for kind in KINDS if kind != "run"},
            "the log": self.changes(exactly=exactly),
            "the log of a run": self.changes(exactly=exactly, entity_id=self.runs["run 02"]),
            "the log of nothing": self.changes(exactly=exactly, entity_id="nothing"),
            "the heads": self.heads(exactly=exactly),
            "no such run": self.get("run", "nothing"),
            "no such kind": self.get("gadget", "nothing"),
            "no such series": series("run 01", "nothing"),
            "a filter that does not parse": find("metrics.auc >"),
            "an order that does not parse": find(order_by="metrics.auc sideways"),
            "a column that does not exist": find("colour = 'red'"),
            "a cursor of another query": lambda: self.store.find(Query(cursor="nonsense")),
            "a field that does not exist": find(fields=("colour",)),
        }


def _plainly(value: Any, names: dict[str, str] | None = None) -> Any:
    """Return an answer as plain data; with ``names``, those in place of identifiers, and no times."""
    if isinstance(value, dict):
        return {
            (names or {}).get(key, key): (
                None if value[key] is None else f"{value[key]:.12g}" if key == "mean" and isinstance(value[key], float)
                else _plainly(value[key], names)
            )
            for key in value
            if names is None or key not in _TIMES
        }  # fmt: skip
    if isinstance(value, (list, tuple)):
        return [_plainly(item, names) for item in value]
    if isinstance(value, float):
        return _number(value)
    if isinstance(value, str) and names is not None:
        return names.get(value, value)
    return value


def _number(value: Any) -> Any:
    return value.hex() if isinstance(value, float) else value
