"""Names that people know from other trackers lead to those that there are."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

import modeldb_core as modeldb
from modeldb_core.runtime.words import WORDS


@pytest.mark.parametrize("name", sorted(WORDS))
def test_a_name_of_another_tracker_says_what_it_is_here(name: str) -> None:
    with pytest.raises(AttributeError) as caught:
        getattr(modeldb, name)
    assert WORDS[name] in str(caught.value)
    for word in re.findall(r"\b([a-z_]+)\(", WORDS[name]):
        assert any(hasattr(owner, word) for owner in (modeldb, modeldb.RunHandle)), word


def test_a_misspelt_name_is_answered_with_the_one_that_is_alike() -> None:
    program = [sys.executable, "-c", "import modeldb_core as modeldb; modeldb.log_metrik"]
    assert "Did you mean: 'log_metric" in subprocess.run(program, capture_output=True, text=True, check=False).stderr
