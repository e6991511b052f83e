"""Decoders of what anybody may have made return or raise an error of ModelDB, whatever they are given.

In the test command each is tried with a few inputs, the same every time; ``tox -e fuzz`` looks for new ones for as long as
``MODELDB_TEST_FUZZ_S`` says.
"""

from __future__ import annotations

import warnings

import pytest

from modeldb_core.errors import ModelDBWarning
from modeldb_core.log.batches import decode_changes, encode_changes
from modeldb_core.log.changes import seal
from modeldb_core.testing.hostile import HOSTILE
from tests.fuzz.bounds import check
from tests.fuzz.decoders import DECODERS, Decoder
from tests.fuzz.running import run
from tests.fuzz.versioned import VERSIONED
from tests.fuzz.wholes import WHOLES


@pytest.mark.parametrize("decoder", [*DECODERS, *VERSIONED, *WHOLES], ids=lambda decoder: decoder.name)
def test_decoder(decoder: Decoder) -> None:
    with warnings.catch_warnings(action="ignore", category=ModelDBWarning):
        decoder.decode(decoder.sample)
    run(decoder.inputs, lambda data: check(decoder.decode, data, decoder.times), decoder.examples)


@pytest.mark.parametrize("what", HOSTILE)
def test_hostile_payloads_travel_as_they_are(what: str) -> None:
    action, kind, payload = HOSTILE[what]
    head = {"recorded_at": 1, "actor": "", "action": action, "kind": kind, "entity_id": "e", "salt": bytes(16)}
    change = seal("s", 1, bytes(32), payload=payload, **head)  # type: ignore[arg-type]
    assert decode_changes(encode_changes([change])) == (change,)
