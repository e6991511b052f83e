"""A program that sends batches of points to a server, one of several at once: ``python -m benchmarks.clients``.

It makes its batches, prints a line, and waits for one; then it sends them, and prints how many seconds each took.
"""

from __future__ import annotations

import http.client
import json
import sys
import time
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

KEYS = ("loss", "accuracy", "precision", "recall", "rate")


def main(server: str, url: str, batches: int, points: int) -> None:
    """Send ``batches`` of ``points`` each to a server of ModelDB ("ours") or to the smallest one ("limit")."""
    first, *works = (_ours if server == "ours" else _limit)(url, batches + 1, points)
    first()  # a server that has just been started imports what it needs
    print("ready", flush=True)
    sys.stdin.readline()
    taken = []
    for work in works:
        start = time.perf_counter()
        work()
        taken.append(time.perf_counter() - start)
    print(json.dumps(taken), flush=True)


def _ours(url: str, batches: int, points: int) -> Iterator[Callable[[], object]]:
    import functools

    import numpy as np

    from modeldb_core.plugins import open_store
    from modeldb_core.testing import StreamWriter

    store, writer, numbers = open_store(url), StreamWriter(), np.random.default_rng(0)
    writer.open()
    run_id = writer.create_run(**writer.create_containers("load", "batches")).entity_id
    store.apply(writer.changes)
    steps = points // len(KEYS)
    for number in range(batches):
        columns = {key: numbers.random(steps).tolist() for key in KEYS}
        change = writer.append(run_id, columns, steps=range(number * steps, (number + 1) * steps))
        yield functools.partial(store.apply, [change])


def _limit(url: str, batches: int, points: int) -> Iterator[Callable[[], object]]:
    import random

    place = urlsplit(url)
    connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=60)

    def send(body: bytes) -> None:
        connection.request("POST", "/points", body, {"Content-Type": "application/json"})
        response = connection.getresponse()
        response.read()
        if response.status != 200:
            msg = f"the server answered {response.status}"
            raise RuntimeError(msg)

    for number in range(batches):
        rows = [
            (f"run {number}", KEYS[index % len(KEYS)], index // len(KEYS), time.time_ns() // 1000, random.random())
            for index in range(points)
        ]
        body = json.dumps({"rows": rows}).encode()
        yield lambda body=body: send(body)  # type: ignore[misc]


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
