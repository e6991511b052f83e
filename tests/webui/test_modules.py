"""The parts of the scripts that compute: run in the browser that they are made for."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterator
from typing import Any

import pytest

from modeldb_core.backends.memory import MemoryStore
from modeldb_core.log.json_documents import entity_document, kind_document
from modeldb_core.model.entities import KINDS
from modeldb_core.queries import Query
from modeldb_core.stores.grouping import dump_groups
from modeldb_core.testing import StreamWriter

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def run(chromium, site) -> Iterator[Any]:
    """A function that evaluates an expression with the exports of a module as ``m``, all in one page."""
    from modeldb_webui.assets import Assets

    with chromium.new_context() as context:
        page = context.new_page()
        page.goto(site.url)
        version = Assets().version

        def evaluate(module: str, expression: str, argument: Any = None) -> Any:
            return page.evaluate(
                f"async (a) => {{ const m = await import('/assets/{version}/js/{module}'); return ({expression}); }}",
                argument,
            )

        yield evaluate


def test_measured_numbers_line_up(run) -> None:
    shown = run(
        "format.js",
        "a.map((x) => m.formatMetric(x))",
        [0.912345, 0.5, 12.3456, 123.456, 1234.5, 0.0123456, 1.2e-7, 3, 20000, -0.25],
    )
    assert shown == ["0.9123", "0.5000", "12.346", "123.46", "1234.5", "0.0123", "1.2e-7", "3", "20,000", "−0.2500"]


def test_chosen_numbers_are_shown_as_they_were_written(run) -> None:
    shown = run("format.js", "a.map((x) => m.formatExact(x))", [0.1, 0.00003, 1e-5, 32, 128000, 0.1 + 0.2, 2**60])
    assert shown == ["0.1", "0.00003", "0.00001", "32", "128,000", "0.3", "1.153e18"]


def test_values_that_json_cannot_carry_are_shown_for_what_they_are(run) -> None:
    values = [
        {"$float": "NaN"},
        {"$float": "-Infinity"},
        {"$int": "1180591620717411303424"},
        None,
        "",
        True,
        {"$$float": "NaN"},
        [1, {"$float": "NaN"}, "NaN", {"$int": "1180591620717411303424"}, []],
        {"$$schema": {"x": {"$float": "-Infinity"}}, "y": {}},
    ]
    assert run("format.js", "a.map((x) => m.formatValue(x))", values) == [
        *("NaN", "−∞", "1180591620717411303424", "null", "", "true", '{"$float":"NaN"}'),
        '[1,NaN,"NaN",1180591620717411303424,[]]',
        '{"$schema":{"x":-Infinity},"y":{}}',
    ]
    assert run("format.js", "m.fullValue(a, 2)", {"a": [1, {"b": {"$float": "NaN"}}], "c": [], "d": "é"}) == (
        '{\n  "a": [\n    1,\n    {\n      "b": NaN\n    }\n  ],\n  "c": [],\n  "d": "é"\n}'
    )


def test_durations_and_sizes_are_rounded_before_their_unit_is_chosen(run) -> None:
    durations = [0, 4e-7, 0.0004, 0.25, 0.9996, 3.2, 9.96, 42, 59.7, 3599.6, 7322, 90061, -5, 1e-3]
    assert run("format.js", "a.map(m.formatDuration)", durations) == [
        *("0 s", "0.4 µs", "400 µs", "250 ms", "1.0 s", "3.2 s", "10 s", "42 s", "1 min 0 s", "1 h 0 min", "2 h 2 min"),
        *("1 d 1 h", "−5.0 s", "1 ms"),
    ]
    assert run("format.js", "a.map(m.formatSize)", [0, 999, 1000, 99_960, 999_950, 14_336_000, 2.5e12]) == [
        *("0 B", "999 B", "1.0 KB", "100 KB", "1.0 MB", "14.3 MB", "2.5 TB"),
    ]


def test_a_time_says_in_which_zone_it_is(chromium, site) -> None:
    from modeldb_webui.assets import Assets

    with chromium.new_context(timezone_id="America/St_Johns") as context:
        page = context.new_page()
        page.goto(site.url)
        shown = page.evaluate(
            f"async () => (await import('/assets/{Assets().version}/js/format.js')).formatTime('2026-01-05T12:00:00Z')"
        )
    assert shown == "2026-01-05 08:30:00 −03:30"


def test_steps_are_shown_with_every_digit(run) -> None:
    labels = [5, 1713, {"$int": "9007199254740993"}, {"$int": "-4611686018427387904"}]
    assert run("format.js", "a.map(m.formatLabel)", labels) == [
        *("5", "1,713", "9,007,199,254,740,993", "−4,611,686,018,427,387,904"),
    ]


@pytest.mark.parametrize(
    ("text", "expects", "part"),
    [
        ("", "field", ""),
        ("metr", "field", "metr"),
        ("metrics.auc ", "operator", ""),
        ("metrics.auc > ", "value", ""),
        ("metrics.auc > 0.9 ", "connective", ""),
        ("metrics.auc > 0.9 and not (na", "field", "na"),
        ('status in ("failed", ', "value", ""),
        ('status in ("failed") a', "connective", "a"),
        ("metrics.auc exists ", "connective", ""),
        ('metrics."val l', "field", 'metrics."val l'),
    ],
)
def test_completion_knows_what_may_come_next(run, text: str, expects: str, part: str) -> None:
    found = run("completion.js", "m.contextAt(a, a.length)", text)
    assert (found["expects"], found["part"]) == (expects, part)


@pytest.mark.parametrize(
    ("text", "sent"),
    [
        ("forest", 'name contains "forest"'),
        ("forest 12", 'name contains "forest" and name contains "12"'),
        ("metrics.auc > 0.9", "metrics.auc > 0.9"),
        ("metrics.auc exists", "metrics.auc exists"),
        ("  ", ""),
    ],
)
def test_plain_words_become_a_condition(run, text: str, sent: str) -> None:
    assert run("completion.js", "m.filterOf(a)", text) == sent


def test_only_whole_filters_are_asked_for_while_typing(run) -> None:
    texts = [
        "metrics.auc",
        "metrics.auc >",
        "metrics.auc > 0.9",
        "metrics.auc > 0.9 an",
        'name = "x',
        'name = "x"',
        "status in (",
        'status in ("failed")',
        "boost",
        "",
    ]
    assert run("completion.js", "a.map(m.isComplete)", texts) == [
        False,
        False,
        True,
        False,
        False,
        True,
        False,
        True,
        True,
        True,
    ]


@pytest.mark.parametrize(
    "key", ["auc", "val/loss", "val loss", 'a "b"', "auc.max", "a.b", "größe", "x,y", "1", "a..b", "", "`'"]
)
def test_names_of_keys_are_understood_by_the_store(run, site, key: str) -> None:
    from modeldb_core.queries import Query

    name = run("columns.js", "m.fieldName('metrics', a)", key)
    if key:
        site.store.find(Query(filter=f"{name} > 0", fields=(name,), order_by=f"{name} desc", limit=1))
        assert run("columns.js", "m.lookUp({[a]: 5}, a)", key) == 5


def test_columns_survive_an_address(run) -> None:
    kind = kind_document(KINDS["run"])
    columns = [
        {"id": "name", "section": "", "key": "name", "pinned": True},
        {"id": "metrics.val/loss, x", "section": "metrics", "key": "val/loss, x", "agg": "max", "numeric": True},
        {"id": "hyperparameters.a*b@c!", "section": "hyperparameters", "key": "a*b@c!", "numeric": False},
    ]
    back = run("columns.js", "m.readColumns(a.kind, m.writeColumns(a.columns))", {"kind": kind, "columns": columns})
    assert [(column["id"], column["pinned"], column.get("agg"), column["numeric"]) for column in back] == [
        ("name", True, None, False),
        ("metrics.val/loss, x", False, "max", True),
        ("hyperparameters.a*b@c!", False, None, False),
    ]


def test_smoothing_keeps_a_constant_and_gaps_and_does_not_lag(run) -> None:
    steady, gap = run(
        "series.js",
        "[m.smoothed(Float64Array.of(0, 1, 2, 9), Float64Array.of(5, 5, 5, 5), 3), m.smoothed(Float64Array.of(0, 1, 2), Float64Array.of(1, NaN, 3), 1)].map((x) => [...x].map((y) => (isNaN(y) ? null : y)))",
    )
    assert steady == pytest.approx([5, 5, 5, 5])
    assert gap[1] is None
    line = run(
        "series.js",
        "[...m.smoothed(Float64Array.from({length: 101}, (_, i) => i), Float64Array.from({length: 101}, (_, i) => i), 4)]",
    )
    assert line[50] == pytest.approx(50)


CURVE = """const data = (xs, f) => ({ total: xs.length, nan_count: 0, infinite_count: 0, nonpositive_count: 0, hidden_count: 0, points: { x: xs, steps: xs, values: xs.map(f) } });
    const options = { smoothing: 0, logX: false, zoom: null };"""


def test_finer_columns_replace_those_of_a_range_and_bring_its_counts(run) -> None:
    steps, total = run(
        "series.js",
        f"""(() => {{ {CURVE}
            const whole = new m.Curve(data([0, 10, 20, 30, 40], (x) => x * 10));
            const both = whole.refined(new m.Curve(data([10, 11, 12, 19], (x) => x)), 10, 20);
            return [[...both.xs], both.total];
        }})()""",
    )
    assert (steps, total) == ([0, 10, 11, 12, 19, 30, 40], 4)


def test_a_line_of_means_is_smoothed_by_how_many_points_each_stands_for(run) -> None:
    smooth = run("series.js", "[...m.smoothed(Float64Array.of(0, 0), Float64Array.of(1, 5), 1, Float64Array.of(3, 1))]")
    assert smooth == [2, 2]


def test_points_at_one_step_are_told_together(run) -> None:
    found = run(
        "series.js",
        f"""(() => {{ {CURVE}
            const line = m.makeLine({{ id: "a", name: "a", slot: 0, origin: 0, series: {{}} }}, new m.Curve(data([1, 2, 2, 2, 3], (x) => x)), options);
            line.ys.set([0, 1, 5, 3, 0]);
            const {{ count, mean, low, high }} = m.summaryAt(line, 2);
            return [count, mean, low, high];
        }})()""",
    )
    assert found == [3, 3, 1, 5]


@pytest.mark.parametrize(
    ("low", "high"),
    [
        (3.0001e-4, 3.0004e-4),
        (-1_234_567, -1_234_560),
        (-1_234_567, 4),
        (1_000_000_000, 1_000_000_010),
        (0, 1e300),
        (-1.7e308, 1.7e308),
        (1e300, 1.0000001e300),
        (5e-324, 5e-323),
        (1e-300, 3e-300),
        (0.1, 0.3),
        (0.999999, 1.000001),
        (2**60, 2**60 + 4096),
        (1e5, 1e5 + 0.01),
        (7.0, 7.0),
        (-0.0, 0.0),
        (9_999, 10_001),
        (0, 128_000),
    ],
)
@pytest.mark.parametrize("most", [2, 5, 9])
def test_labels_of_an_axis_are_the_numbers_they_stand_at_and_none_comes_twice(
    run, low: float, high: float, most: int
) -> None:
    ticks, texts = run(
        "axes.js",
        "((range) => { const ticks = m.linearTicks(range, a[2]); return [ticks, m.tickTexts(ticks)]; })(m.padded(a[0], a[1]))",
        [low, high, most],
    )
    assert len(ticks) >= 1
    assert len(set(texts)) == len(texts), texts
    longest = 14 if abs(high) < 2**53 or high > 2**64 else 26
    gap = min((after - before for before, after in itertools.pairwise(ticks)), default=max(abs(ticks[0]), 1))
    for tick, text in zip(ticks, texts, strict=True):
        number = text.replace(",", "").replace("−", "-")
        unit = {"k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}.get(number[-1], 1)
        assert abs(float(number.rstrip("kMGT")) * unit - tick) <= gap * 0.01, (tick, text)
        assert len(text) <= longest, "a label of a sane length"


def test_labels_are_as_short_as_their_distance_allows(run) -> None:
    ask = "m.tickTexts(a)"
    assert run("axes.js", ask, [0, 5000, 10_000, 15_000]) == ["0", "5k", "10k", "15k"]
    assert run("axes.js", ask, [3.0001e-4, 3.0002e-4, 3.0003e-4]) == ["3.0001e-4", "3.0002e-4", "3.0003e-4"]
    assert run("axes.js", ask, [-1_234_568, -1_234_567]) == ["−1,234,568", "−1,234,567"]
    assert run("axes.js", ask, [0, 5e299, 1e300]) == ["0", "5e299", "1e300"]
    assert run("axes.js", ask, [0, 0.2, 0.4]) == ["0", "0.2", "0.4"]
    assert run("axes.js", "m.durationTexts(a)", [0, 60, 120, 180]) == ["0", "1m", "2m", "3m"]


@pytest.mark.parametrize(("low", "high"), [(1e-12, 1e12), (1, 9), (2.5, 2.6), (5e-324, 1), (1e300, 1e307), (1, 1e5)])
def test_a_logarithmic_axis_has_labels_of_its_own(run, low: float, high: float) -> None:
    ticks, texts = run(
        "axes.js",
        "((range) => { const ticks = m.logTicks(range, 7); return [ticks, m.logTexts(ticks)]; })(m.logRange(a[0], a[1]))",
        [low, high],
    )
    assert 1 <= len(ticks) <= 22
    assert len(set(texts)) == len(texts), texts
    assert all(tick > 0 for tick in ticks)


def test_runs_drawn_together_have_different_colours_and_keep_them(run) -> None:
    first, second = run(
        "colors.js",
        "[[...m.assignSlots(['a', 'b', 'c']).values()], m.assignSlots(['c', 'd', 'e'])].map((x) => (x instanceof Map ? [...x.entries()] : x))",
    )
    assert len(set(first)) == 3
    again = dict(second)
    assert again["c"] == first[2]
    assert len(set(again.values())) == 3


def test_differences_do_not_depend_on_the_order_of_keys(run) -> None:
    assert run(
        "diff.js",
        "[m.same({a: 1, b: [1]}, {b: [1], a: 1}), m.same(1, 1.5), m.same(undefined, null), m.same({a: 1}, {})]",
    ) == [True, False, True, False]
    assert run("diff.js", "[...m.flatten({a: {b: 1, c: {}}, $$d: [1], n: {$float: 'NaN'}}).keys()]") == [
        "a.b",
        "a.c",
        "$d",
        "n",
    ]


def test_groups_of_numbers_come_in_their_order_and_others_by_size(run) -> None:
    def keys(*values: Any) -> list[str]:
        groups = [
            {"key": json.dumps(value), "value": value, "count": size}
            if value is not None
            else {"key": "", "count": size}
            for size, value in enumerate(values)
        ]
        found: list[str] = run("run_groups.js", "m.inOrder(a).map(({ key }) => key)", groups)
        return found

    assert keys(8, {"$float": "NaN"}, 2, None, 10) == ["2", "8", "10", '{"$float": "NaN"}', ""]
    assert keys(None, 8, "text", 2) == ["2", '"text"', "8", ""]


def test_the_page_and_the_store_put_a_run_into_the_same_group(run) -> None:
    values: list[Any] = [5, 0.5, -0.0, "a", True, None, 2**60, 10**400, math.nan, -math.inf]
    values += [[1, [2]], [1] * 2000, [{"a": 2**60}], {"a": 1}, "x" * 20_000]
    writer = StreamWriter()
    ids = writer.create_containers("values", "each")
    for number, value in enumerate(values):
        writer.create_run(**ids, name=str(number), hyperparameters={"v": value})
    writer.create_run(**ids, name="none")
    with MemoryStore() as store:
        store.apply(writer.changes)
        for entity in store.find(Query(limit=100)).entities:
            page = store.find_groups(Query(filter=f"run_id = '{entity.entity_id}'"), "hyperparameters.v")
            argument = {"run": entity_document(entity), "groups": dump_groups(page)["groups"]}
            keys = run("run_groups.js", "[m.keyOf(a.run.hyperparameters?.v), m.shownGroups(a.groups)[0].key]", argument)
            assert keys[0] == keys[1], entity.name


@pytest.mark.parametrize("value", [5, -0.5, 'a "b"', "it's", True, None, {"$int": "1180591620717411303424"}])
def test_the_filter_of_a_group_is_understood_by_the_store(run, site, value: Any) -> None:
    from modeldb_core.queries import Query

    text = run("run_groups.js", "m.groupFilter('some key', a)", value)
    site.store.find(Query(filter=text, limit=1))


def test_the_range_of_a_group_keeps_every_spike_and_its_mean_is_that_of_the_points(run) -> None:
    low, high, middle, name = run(
        "series.js",
        f"""(() => {{ {CURVE}
            const xs = Array.from({{ length: 1000 }}, (_, i) => i);
            const group = {{ key: "g", name: "g", slot: 1, size: 7 }};
            const line = (f) => m.makeLine({{ id: "x", name: "x", slot: 0, origin: 0, series: {{}} }}, new m.Curve(data(xs, f)), options);
            const [mean] = m.meanLines([line((i) => (i === 333 ? 99 : 1)), line((i) => (i === 777 ? -99 : 3))], [{{ group }}, {{ group }}], null, true);
            return [Math.min(...mean.low), Math.max(...mean.high), mean.ys[100], mean.name];
        }})()""",
    )
    assert (low, high, middle) == (-99, 99, 2)
    assert name == "g (2 of 7)", "runs that are left out are said"


def test_no_text_in_csv_is_a_formula_or_turns_its_line_around(run) -> None:
    texts = ["=1+1", "-2+3", "@x", "＝1", "-5", "a,b", "plain", "x\u202egnp\x1b[31m"]
    assert run("chart_export.js", "a.map((x) => m.csvCell(x))", texts) == [
        *("'=1+1", "'-2+3", "'@x", "'＝1", "-5", '"a,b"', "plain", "x\ufffdgnp\ufffd[31m"),
    ]


def test_every_edge_leads_to_the_right_and_runs_between_the_nodes(run) -> None:
    edges = [["a", "b"], ["b", "c"], ["a", "c"], ["d", "c"], ["c", "c2"], ["c2", "a"]]
    spots, ways = run(
        "layers.js",
        "(({ spots, ways }) => [[...spots], ways])(m.layOut(['a', 'b', 'c', 'c2', 'd', 'alone'], a))",
        edges,
    )
    layers = {node: spot["layer"] for node, spot in spots if "\n" not in node}
    assert layers == {"a": 0, "b": 1, "c": 2, "c2": 3, "d": 0, "alone": 0}
    assert len({(spot["layer"], spot["row"]) for _, spot in spots}) == len(spots), "nothing stands on another"
    for way in ways:
        assert [spot["layer"] for spot in way] == list(range(way[0]["layer"], way[-1]["layer"] + 1))
