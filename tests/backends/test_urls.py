"""The options of URLs are read in their types; what is wrong is named, what is secret is not shown."""

from __future__ import annotations

import pytest

from modeldb_core.backends._urls import split_options
from modeldb_core.errors import ConfigurationError

KNOWN = {"region": str, "part_bytes": int, "timeout_s": float, "ssl": bool, "secret": str, "token": int}


def test_options_are_read_in_their_types():
    bare, options = split_options("s3://b/p?region=a%20b&part_bytes=5&timeout_s=0.5&ssl=off", KNOWN)
    assert bare == "s3://b/p"
    assert options == {"region": "a b", "part_bytes": 5, "timeout_s": 0.5, "ssl": False}


def test_a_url_without_options_stays_as_it_is():
    assert split_options("s3://b/p", KNOWN) == ("s3://b/p", {})


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("regoin=x", "'regoin' in 's3://b.regoin=x' is unknown; did you mean 'region'"),
        ("zzz=1", "known: region, part_bytes"),
        ("region=a&region=b", "stands twice"),
        ("part_bytes=many", "has the value 'many'; expected a whole number"),
        ("ssl=perhaps", "expected true or false"),
        ("token=tops3cret", r"has the value \*\*\*"),
        ("secret=tops3cret&zzz=1", r"secret=\*\*\*"),
    ],
)
def test_what_is_wrong_is_named_and_no_secret_shown(query, message):
    with pytest.raises(ConfigurationError, match=message) as caught:
        split_options(f"s3://b?{query}", KNOWN)
    assert "tops3cret" not in str(caught.value)
