"""What the state machine draws from: changes that collide, and questions whose answers are easily wrong.

It needs hypothesis.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import strategies as st

from modeldb_core.queries import quote

_MONTH_AGO = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=30)
BASE_US = int(_MONTH_AGO.timestamp()) * 1_000_000
"""The time of most of what is written, microseconds since 1970-01-01 UTC: the filters ask for times around it."""

_NUMBERS = [0, 1, 0.5, -0.0, 2.25, -1.0, float("nan"), float("inf"), float("-inf"), 2**53, 2**53 + 1, -(2**64), 10**320]
POINTS = [0.0, -0.0, 1.0, 0.5, -2.25, float("nan"), float("inf")]  # sums of these are exact in any order
TEXTS = ["", "a", "A", "ab", "Ab%", "_", "é", "日本", "lost", "it's", '"', "-1", "1"]
_TAGS = ["a", "A", "ab", "é", "50%"]
_PLAIN = st.sampled_from([*_NUMBERS, *TEXTS, True, False, None])
VALUES = st.one_of(
    _PLAIN,
    _PLAIN,
    st.lists(_PLAIN, max_size=2),
    st.dictionaries(st.sampled_from(["x", "y z", "x.y"]), _PLAIN, max_size=2),
)
KEYS = st.sampled_from(["lr", "opt", "opt.x", "val loss", "max"])
MAPS = st.dictionaries(KEYS, VALUES, max_size=3)
METRICS = st.sampled_from(["loss", "auc", "lr", "max"])

_AGGREGATED = [f"metrics.loss.{name}" for name in ("min", "max", "first", "last", "mean", "count")]
_KEYED = [
    "metrics.loss",
    "metrics.auc",
    "metrics.lr",
    "metrics.max",
    "metrics.nowhere",
    *_AGGREGATED,
    "hyperparameters.lr",
    "hyperparameters.opt",
    "hyperparameters.opt.x",
    'hyperparameters."val loss"',
    "attributes.lr",
    "attributes.opt.x.y",
    'attributes.opt."y z"',
    "attributes.max",
]
_TEXT_COLUMNS = ["name", "description", "status", "owner", "parent_id", "project", "experiment", "project_id"]
_NUMBER_COLUMNS = ["duration"]
_TIME_COLUMNS = ["created_at", "updated_at", "started_at", "finished_at"]
_COMPARISONS = ["=", "!=", "<", "<=", ">", ">="]
_SEARCHES = ["contains", "startswith", "endswith", "like"]


def _literal(value: Any) -> str:  # noqa: ANN401 - a literal
    return (
        quote(value) if isinstance(value, str) else json.dumps(value).replace("Infinity", "inf").replace("NaN", "nan")
    )


_TEXT_LITERALS = st.sampled_from([*TEXTS, "running", "finished", "p1"]).map(_literal)
_NUMBER_LITERALS = st.sampled_from(_NUMBERS).map(_literal)
_LITERALS = st.one_of(_TEXT_LITERALS, _NUMBER_LITERALS, st.sampled_from(["true", "false"]))
_LISTS = st.lists(_LITERALS, min_size=1, max_size=3).map(", ".join)
_TIMES = st.sampled_from([f'"{_MONTH_AGO:%Y-%m-%d}T00:00:00.000002Z"', f'"{_MONTH_AGO:%Y-%m-%d}"', "now", "now - 1h"])


@st.composite
def _predicates(draw: st.DrawFn) -> str:
    """Any condition of the language."""
    match draw(st.integers(0, 9)):
        case 0:
            field = draw(st.sampled_from([*_KEYED, *_TEXT_COLUMNS, *_TIME_COLUMNS, *_NUMBER_COLUMNS]))
            return f"{field} {draw(st.sampled_from(['exists', 'not exists', 'is null', 'is not null']))}"
        case 1:
            field = draw(st.sampled_from(_TIME_COLUMNS))
            return f"{field} {draw(st.sampled_from(_COMPARISONS))} {draw(_TIMES)}"
        case 2:
            return f"duration {draw(st.sampled_from(_COMPARISONS))} {draw(_NUMBER_LITERALS)}"
        case 3:
            operator = draw(st.sampled_from([*_SEARCHES, "="]))
            return f"tags {operator} {draw(st.sampled_from([*_TAGS, '%', '_']).map(_literal))}"
        case 4:
            return draw(st.sampled_from(["tags exists", "tags not exists", 'tags in ("a", "é")']))
        case 5:
            column = draw(st.sampled_from(_TEXT_COLUMNS))
            return f"{column} {draw(st.sampled_from([*_COMPARISONS, *_SEARCHES]))} {draw(_TEXT_LITERALS)}"
        case 6:
            field = draw(st.sampled_from(_KEYED))
            return f"{field} {draw(st.sampled_from(['in', 'not in']))} ({draw(_LISTS)})"
        case 7:
            return f"{draw(st.sampled_from(_KEYED))} {draw(st.sampled_from(_SEARCHES))} {draw(_TEXT_LITERALS)}"
        case 8:
            return f"{draw(st.sampled_from(_KEYED))} {draw(st.sampled_from(['=', '!=']))} {draw(_LITERALS)}"
        case _:
            literals = st.one_of(_TEXT_LITERALS, _NUMBER_LITERALS)
            return f"{draw(st.sampled_from(_KEYED))} {draw(st.sampled_from(_COMPARISONS))} {draw(literals)}"


FILTERS = st.one_of(
    st.just(""),
    st.recursive(
        _predicates(),
        lambda inner: st.one_of(
            st.builds("not ({})".format, inner),
            st.builds("({}) and ({})".format, inner, inner),
            st.builds("({}) or ({})".format, inner, inner),
        ),
        max_leaves=4,
    ),
)
_CRITERIA = st.builds(
    "{} {}".format,
    st.sampled_from([*_KEYED, *_TEXT_COLUMNS, *_TIME_COLUMNS, *_NUMBER_COLUMNS, "entity_id"]),
    st.sampled_from(["", "asc", "desc"]),
)
ORDERS = st.lists(_CRITERIA, max_size=3).map(", ".join)
RUN_TIMES = st.sampled_from([(None, None), (BASE_US, None), (0, 1_000_000), (5, 2_250_005)])
RUN_FIELDS = st.fixed_dictionaries(
    {
        "name": st.sampled_from(TEXTS),
        "status": st.sampled_from(["running", "running", "finished", "failed"]),
        "hyperparameters": MAPS,
        "metrics": st.dictionaries(METRICS, VALUES, max_size=2),
        "tags": st.lists(st.sampled_from(_TAGS), max_size=3),
    }
)
_COLUMNS_SET = st.sampled_from(["name", "description", "parent_id", "status"])
UPDATES = st.fixed_dictionaries(
    {
        "set": st.dictionaries(_COLUMNS_SET, st.sampled_from(TEXTS), max_size=2),
        "put": st.fixed_dictionaries({}, optional={"attributes": MAPS, "hyperparameters": MAPS, "metrics": MAPS}),
    },
    optional={
        "add": st.fixed_dictionaries({"tags": st.lists(st.sampled_from(_TAGS), max_size=2)}),
        "remove": st.fixed_dictionaries(
            {},
            optional={"attributes": st.lists(KEYS, max_size=2), "tags": st.just(["a"]), "metrics": st.lists(METRICS)},
        ),
    },
)
ACTIONS = [
    "create",
    "update",
    "update",
    "delete",
    "delete",
    "restore",
    "append",
    "append",
    "erase",
    "forget",
    "beat",
    "close",
    "rename_project",
    "comment",
    "move",
    "move",
]
QUESTIONS = [
    "find",
    "find",
    "find",
    "find_keys",
    "find_groups",
    "find_projects",
    "find_comments",
    "read_series",
    "get",
    "read_changes",
]
SOME_WRITERS = st.tuples(st.permutations([0, 1, 2]), st.integers(0, 3)).map(lambda drawn: drawn[0][: drawn[1]])
PROJECTIONS = st.sampled_from(
    [None, (), ("metrics.loss", "hyperparameters.opt.x"), ("metrics", "tags"), ("series.loss", 'attributes."opt"')]
)
