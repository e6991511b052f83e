"""A store that looks like a month of somebody's work: for the browser tests, for screenshots, and to try the pages.

``python tests/webui/demo.py FOLDER [--runs N] [--port P]`` fills a store in FOLDER, where there is none yet, and serves
it with one run that trains on.
"""

from __future__ import annotations

import argparse
import io
import json
import math
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from modeldb_core.model.entities import new_id
from modeldb_core.testing import StreamWriter

if TYPE_CHECKING:
    from modeldb_core.stores import ArtifactStore, MetadataStore

DAY_US = 86_400_000_000
SPIKE_STEP = 1713
SPIKE = 41.5
NASTY = '<img src=x onerror="window.hacked=1">'
SCRIPT = "</script><script>window.hacked=2</script>"
EXACT = {"$schema": 'a { of "it": ,', "exact": 12345678901234567890, "one": 1.0, "none": []}
"""What looks like ModelDB's own JSON, and what a browser's numbers do not hold."""
COMMITS = ("3f1c9a7be20d4c5f8a6b7c8d9e0f1a2b3c4d5e6f", "a9d02b6c7e8f901234567890abcdef1234567890")
DIFF = """diff --git a/train.py b/train.py
index 83db48f..bf2a7c1 100644
--- a/train.py
+++ b/train.py
@@ -12,9 +12,11 @@ def train(settings):
     model = build(settings)
-    optimizer = SGD(model, lr=settings.lr)
+    optimizer = AdamW(model, lr=settings.lr, weight_decay=settings.weight_decay)
+    schedule = cosine(optimizer, warmup=settings.warmup)
     for step, batch in enumerate(data):
         loss = model.loss(batch)
         loss.backward()
-        optimizer.step()
+        optimizer.step()
+        schedule.step()
         if step % 100 == 0:
"""
FAILURE = {
    "type": "ValueError",
    "message": "Input X contains NaN.",
    "traceback": 'Traceback (most recent call last):\n  File "train.py", line 31, in <module>\n    model.fit(X, y)\n'
    "ValueError: Input X contains NaN.\n",
}
FIGURE = "application/vnd.modeldb.figure+json"
FIGURES: dict[str, dict[str, Any]] = {
    "confusion_matrix.json": {
        "figure": "confusion_matrix",
        "kind": "matrix",
        "title": "Confusion matrix",
        "rows": ["fine", "scratch", "dent"],
        "columns": ["fine", "scratch", "dent"],
        "values": [[812, 14, 3], [22, 341, 17], [5, 9, 177]],
        "x_label": "Predicted",
        "y_label": "True",
    },
    "roc_curve.json": {
        "figure": "roc_curve",
        "kind": "lines",
        "title": "ROC curve",
        "x_label": "False positive rate",
        "y_label": "True positive rate",
        "diagonal": True,
        "series": [
            {
                "label": f"{name} (AUC {1 - 0.5 / power:.2f})",
                "x": [i / 50 for i in range(51)],
                "y": [(i / 50) ** (0.5 / power) for i in range(51)],
            }
            for name, power in (("scratch", 4.0), ("dent", 2.0))
        ],
    },
    "feature_importances.json": {
        "figure": "feature_importances",
        "kind": "bars",
        "title": "Feature importances",
        "x_label": "Mean decrease in impurity",
        "labels": ["edge density", "brightness", "contrast", "hue", "saturation"],
        "values": [0.41, 0.27, 0.16, 0.11, 0.05],
        "errors": [0.05, 0.04, 0.03, 0.02, 0.01],
    },
    "hostile.json": {
        "figure": NASTY,
        "kind": "bars",
        "title": SCRIPT,
        "x_label": NASTY,
        "labels": [NASTY, SCRIPT, "__proto__", "x" * 5000],
        "values": [1e308, -1e308, {"$float": "NaN"}, {"$float": "Infinity"}],
        "__proto__": {"polluted": True},
        "constructor": {"prototype": {"polluted": True}},
    },
    "no figure.json": {"kind": "matrix", "rows": ["a"], "columns": ["b"], "values": [[1, 2], [3]]},
}
PACKAGES = {"numpy": "2.2.1", "pandas": "2.2.3", "scikit-learn": "1.6.0", "scipy": "1.14.1", "modeldb-core": "0.1.0"}


@dataclass
class Demo:
    """What a demo store holds."""

    writer: StreamWriter
    churn: dict[str, str] = field(default_factory=dict)
    vision: dict[str, str] = field(default_factory=dict)
    nasty: dict[str, str] = field(default_factory=dict)
    churn_runs: list[str] = field(default_factory=list)
    vision_runs: list[str] = field(default_factory=list)
    live_run: str = ""

    def ship(self, store: MetadataStore) -> None:
        """Apply what the writer has made since the last time."""
        head = store.heads().get(self.writer.stream_id)
        store.apply(self.writer.take(head.seq if head else 0))


def picture(width: int = 320, height: int = 240) -> bytes:
    """Return a small confusion matrix as a PNG."""
    import struct
    import zlib

    rows = bytearray()
    for y in range(height):
        rows.append(0)
        for x in range(width):
            cell = (x * 4 // width, y * 4 // height)
            strength = 0.95 if cell[0] == cell[1] else 0.08 + 0.05 * ((cell[0] * 3 + cell[1] * 5) % 4)
            rows += bytes((round(250 - 215 * strength), round(250 - 140 * strength), round(252 - 70 * strength)))

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IDAT", zlib.compress(bytes(rows)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + body + chunk(b"IEND", b"")


def fill(store: MetadataStore, artifacts: ArtifactStore, *, runs: int = 24, nasty: bool = True) -> Demo:
    """Fill an empty store; ``nasty`` adds a project of names that could break a page."""
    start = time.time_ns() // 1000 - 24 * DAY_US
    writer = StreamWriter(actor="ada", at=start)
    demo = Demo(writer)
    writer.open(lease_s=30 * 86_400)
    demo.churn = writer.create_containers("churn", "forest")
    boost = writer.create_containers("churn", "boosting")
    writer.update("project", demo.churn["project_id"], set={"description": "Who is going to leave, and why"})
    rng = np.random.default_rng(5)
    for number in range(runs):
        writer.at = start + number * (22 * DAY_US // max(1, runs))
        ids = demo.churn if number % 3 else boost
        demo.churn_runs.append(_churn_run(writer, ids, number, rng))
    if nasty:
        demo.nasty = writer.create_containers(NASTY, SCRIPT)
        _nasty_runs(writer, demo.nasty)
    _vision_runs(demo, start + 22 * DAY_US, rng)
    demo.ship(store)
    _files(demo, store, artifacts)
    return demo


def _churn_run(writer: StreamWriter, ids: dict[str, str], number: int, rng: np.random.Generator) -> str:
    depth = int(rng.integers(3, 12))
    rate = float(10 ** rng.uniform(-3.2, -0.7))
    trees = int(rng.choice([100, 200, 400]))
    auc = 0.86 + 0.05 * math.tanh(depth / 6) + 0.02 * rng.random() - 0.03 * abs(math.log10(rate) + 2)
    begun = writer.at
    run_id = writer.create_run(
        **ids,
        name=f"{'forest' if number % 3 else 'boost'}-{number:03d}",
        started_at=begun,
        tags=[tag for tag, every in (("baseline", 7), ("best", 11), ("reviewed", 5)) if number % every == 0],
        hyperparameters={
            "max_depth": depth,
            "learning_rate": rate,
            "n_estimators": trees,
            "criterion": "gini" if number % 2 else "entropy",
            "class_weight": {"0": 1.0, "1": 9.5},
            "seed": number,
        },
        metrics={"auc": auc, "accuracy": auc - 0.04 * rng.random(), "fit_seconds": float(rng.uniform(2, 300))},
        attributes={"team": "growth"},
        code={"commit": COMMITS[number % 2], "branch": "main", "dirty": number % 4 == 0, "script": "train.py"}
        | ({"diff": DIFF} if number % 4 == 0 else {}),
        environment={"python": "3.11.9", "implementation": "CPython", "packages": PACKAGES},
        context={
            "hostname": f"node{number % 3}",
            "cpu_count": 32,
            "command": ["python", "train.py", "--seed", str(number)],
        },
    ).entity_id
    steps = np.arange(300)
    fall = np.exp(-steps / (20 + 400 * rate))
    loss = 0.25 + 0.45 * fall + 0.01 * rng.standard_normal(300)
    writer.append(
        run_id,
        {
            "train/loss": list(loss),
            "val/loss": list(loss + 0.03 + 0.0002 * depth * steps * 0.1),
            "val/auc": list(auc - 0.2 * fall + 0.004 * rng.standard_normal(300)),
        },
        steps=list(steps),
        times=[begun + int(step) * 400_000 for step in steps],
    )
    writer.at = begun + 125_000_000
    status = "failed" if number % 9 == 4 else "killed" if number % 13 == 6 else "finished"
    writer.update("run", run_id, set={"status": status, "finished_at": writer.at})
    if status == "failed":
        writer.update("run", run_id, set={"failure": FAILURE})
    return run_id


def _nasty_runs(writer: StreamWriter, ids: dict[str, str]) -> None:
    """Everything that could break a page that puts text together."""
    for name in (NASTY, SCRIPT, "", "x" * 400, "Größe\u202e 🚀\n'\"`{{7*7}}"):
        run_id = writer.create_run(
            **ids,
            name=name,
            description=f"{NASTY}{SCRIPT}",
            tags=[NASTY, SCRIPT, "plain"],
            hyperparameters={
                NASTY: SCRIPT,
                "a.b, c": 1,
                "nan": math.nan,
                "huge": 2**70,
                "constructor": 3,
                "__proto__": 4,
                "deep": {"x": [1, None, NASTY]},
            },
            metrics={
                "hasOwnProperty": 1.0,
                "toString": 2.0,
                "inf": math.inf,
                "minus": -math.inf,
                'quoted "key"': 1.5,
                "auc.max": 0.5,
            },
            attributes={"": "empty key", "$float": "NaN", "javascript:alert(1)": "data:text/html,<script>"},
            notes=[f"{NASTY} could not be recorded"],
            code={"commit": NASTY, "diff": f"+{SCRIPT}\n-{NASTY}\n"},
        ).entity_id
        writer.append(run_id, {f"val/{NASTY}": [1.0, math.nan, math.inf, 2.0, -1.0]})
        writer.append(run_id, {"one": [1.0]})
        writer.append(run_id, {"constructor": [1.0, 2.0], "__proto__": [3.0, 4.0], "valueOf": [0.0, -1.0]})
        writer.create("comment", new_id(), parent_id=run_id, message=SCRIPT, author=NASTY)


def _vision_runs(demo: Demo, start: int, rng: np.random.Generator) -> None:
    writer = demo.writer
    writer.at = start
    demo.vision = writer.create_containers("vision", "resnet")
    writer.update("project", demo.vision["project_id"], set={"description": "Defects on conveyor pictures"})
    for number in range(6):
        writer.at = start + number * DAY_US // 8
        begun = writer.at
        rate = 0.1 / 2**number
        run_id = writer.create_run(
            **demo.vision,
            name=f"resnet50-lr{rate:.4g}",
            tags=["sweep"],
            hyperparameters={
                "lr": rate,
                "batch": 256,
                "epochs": 90,
                "optimizer": {"name": "adamw", "weight_decay": 0.05},
            },
            datasets={
                "train": {
                    "kind": "table",
                    "digest": "5e" * 32,
                    "shape": [128_000, 14],
                    "size_bytes": 14_336_000,
                    "schema": {"columns": [{"name": f"x{i}", "dtype": "float64"} for i in range(14)]},
                }
            },
            code={"commit": COMMITS[0], "branch": "sweep", "dirty": True, "diff": DIFF},
            environment={"python": "3.11.9", "packages": PACKAGES},
        ).entity_id
        demo.vision_runs.append(run_id)
        steps = np.arange(20_000)
        curve = 6.2 * np.exp(-steps / (1500 + 900 * number)) + 0.55 + 0.02 * number
        loss = curve * (1 + 0.06 * rng.standard_normal(20_000))
        top1 = 0.79 * (1 - np.exp(-steps / (2500 + 700 * number))) + 0.006 * rng.standard_normal(20_000)
        if number == 0:
            loss[SPIKE_STEP] = SPIKE
            loss[9000:9400] = math.nan
        times = [begun + int(step) * 180_000 for step in steps]
        writer.append(run_id, {"train/loss": list(loss), "train/top1": list(top1)}, steps=list(steps), times=times)
        epochs = list(range(0, 20_000, 250))
        ends = [times[step] for step in epochs]
        writer.append(
            run_id,
            {"val/loss": list(curve[::250] * 1.08), "val/top1": list(top1[::250] - 0.02)},
            steps=epochs,
            times=ends,
        )
        writer.append(
            run_id,
            {"lr": list(rate * 0.5 * (1 + np.cos(np.pi * steps[::50] / 20_000)))},
            steps=list(steps[::50]),
            times=times[::50],
        )
        writer.append(
            run_id,
            {
                "modeldb/system/rank0/gpu0": list(90 + 6 * rng.standard_normal(80)),
                "modeldb/system/rank0/memory": list(30 + rng.random(80)),
            },
            steps=epochs,
            times=ends,
        )
        writer.at = begun + 20_000 * 180_000
        if number == 5:
            demo.live_run = run_id
            writer.update("run", run_id, set={"name": "resnet50-live"})
        else:
            writer.update("run", run_id, set={"status": "finished", "finished_at": writer.at})
    for number, lr in enumerate((0.1, 0.05)):
        child = writer.create_run(
            **demo.vision,
            name=f"fold-{number}",
            parent_id=demo.vision_runs[0],
            hyperparameters={"fold": number, "lr": lr},
            metrics={"top1": 0.74 + number / 100},
            status="finished",
            started_at=writer.at,
            finished_at=writer.at + 9_000_000,
        )
        writer.append(child.entity_id, {"val/top1": [0.1, 0.5, 0.7]})
    writer.create(
        "comment",
        new_id(),
        parent_id=demo.vision_runs[0],
        message="The spike at step 1713 is a broken batch.\nKeep it out next time.",
        author="grace",
    )
    writer.update(
        "run",
        demo.vision_runs[0],
        add={"notes": ["12 points could not be journalled: the disk was full from 02:10 to 02:11."]},
    )


def _files(demo: Demo, store: MetadataStore, artifacts: ArtifactStore) -> None:
    run_id = demo.vision_runs[0]
    files: dict[str, tuple[str, bytes]] = {
        "plots/confusion.png": ("image/png", picture()),
        "predictions.csv": (
            "text/csv",
            (
                "picture,label,score\n"
                + "".join(
                    f"img{i:04d}.png,{'defect' if i % 7 == 0 else 'fine'},{0.5 + i % 50 / 100:.2f}\n"
                    for i in range(500)
                )
            ).encode(),
        ),
        "settings.json": (
            "application/json",
            json.dumps({"lr": 0.1, "layers": [3, 4, 6, 3], "html": NASTY, **EXACT}).encode(),
        ),
        "log.txt": ("text/plain", b"epoch 1 loss 4.31\nepoch 2 loss 3.02\n" * 40),
        f"report {SCRIPT[-9:-1]}.html": ("text/html", f"<h1>Report</h1>{SCRIPT}".encode()),
        "model/weights.bin": ("application/octet-stream", bytes(range(256)) * 300),
    }
    files |= {path: (FIGURE, json.dumps(figure).encode()) for path, figure in FIGURES.items()}
    for path, (media_type, content) in files.items():
        info = artifacts.put(io.BytesIO(content))
        entry = {"digest": info.digest, "size_bytes": len(content), "media_type": media_type}
        demo.writer.update("run", run_id, put={"artifacts": {path: entry}})
    demo.ship(store)


def train_on(demo: Demo, store: MetadataStore, stop: threading.Event) -> None:
    """Let the live run log a few points each second, until told to stop."""
    step = 20_000
    rng = np.random.default_rng(9)
    while not stop.wait(1.0):
        demo.writer.at = time.time_ns() // 1000
        steps = list(range(step, step + 20))
        loss = 0.7 + 3 * np.exp(-np.array(steps) / 9000) + 0.05 * rng.standard_normal(20)
        demo.writer.append(demo.live_run, {"train/loss": list(loss)}, steps=steps)
        demo.ship(store)
        step += 20


def many(store: MetadataStore, count: int, *, metrics: int = 4) -> None:
    """Add a project with ``count`` small runs."""
    start = time.time_ns() // 1000 - 30 * DAY_US
    writer = StreamWriter(actor="ada", at=start)
    ids = writer.create_containers("many", "sweep")
    rng = np.random.default_rng(1)
    values = rng.random((count, metrics))
    for number in range(count):
        writer.at = start + number * 20_000_000
        fields: dict[str, Any] = {f"m{index}": float(values[number, index]) for index in range(metrics)}
        writer.create_run(
            **ids,
            name=f"run {number:06d}",
            status="finished",
            finished_at=writer.at + 5_000_000,
            tags=["even"] if number % 2 == 0 else [],
            hyperparameters={"lr": float(10 ** -rng.uniform(1, 4)), "seed": number, "layers": int(rng.integers(2, 9))},
            metrics=fields,
        )
        if number % 2000 == 1999:
            _flush(writer, store)
    _flush(writer, store)


def _flush(writer: StreamWriter, store: MetadataStore) -> None:
    head = store.heads().get(writer.stream_id)
    store.apply(writer.take(head.seq if head else 0))


def main() -> None:
    """Fill and serve."""
    from modeldb_core.backends.blobs import FsspecArtifactStore
    from modeldb_core.plugins import open_store
    from modeldb_server import Server, ServerSettings, create_app

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--runs", type=int, default=24)
    parser.add_argument("--many", type=int, default=0, help="add a project with so many small runs")
    parser.add_argument("--nasty", action="store_true", help="add a project of names that could break a page")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--url", default="", help="of the store; by default a SQLite file in FOLDER")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    database = options.folder / "modeldb.db"
    is_new = not database.exists()
    stop = threading.Event()
    with open_store(options.url or f"sqlite:///{database}") as store:
        artifacts = FsspecArtifactStore(f"file://{options.folder}/modeldb-artifacts")
        if is_new:
            demo = fill(store, artifacts, runs=options.runs, nasty=options.nasty)
            if options.many:
                many(store, options.many)
            threading.Thread(target=train_on, args=(demo, store, stop), daemon=True).start()
        server = Server(create_app(store, artifacts, ServerSettings(port=options.port, actor="demo")))
        print(server.url, flush=True)
        try:
            server.run()
        except KeyboardInterrupt:
            server.stop()
        finally:
            stop.set()


if __name__ == "__main__":
    main()
