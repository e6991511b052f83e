"""What is hidden, and what is left alone."""

from __future__ import annotations

import pytest

from modeldb_core.redaction import is_secret_name, redact_arguments, redact_text, redact_value, strip_userinfo


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postgresql://me:hush@host:5432/db", "postgresql://me:***@host:5432/db"),
        ("postgresql+psycopg2://me:p@ss@host/db", "postgresql+psycopg2://me:***@host/db"),
        ("see https://:hush@host/ and ftp://a:hush@b", "see https://:***@host/ and ftp://a:***@b"),
        ("https://ghp_0123456789abcdefghij0123@host/x", "https://***@host/x"),
        ("https://host/?api_key=hush&user=me", "https://host/?api_key=***&user=me"),
        ("s3://bucket/x?AWSAccessKeyId=hush&Signature=hush", "s3://bucket/x?AWSAccessKeyId=hush&Signature=***"),
        ("token ghp_0123456789abcdefghij0123 here", "token *** here"),
        ("sqlite:///folder/modeldb.db", "sqlite:///folder/modeldb.db"),
        ("http://localhost:5000/a@b", "http://localhost:5000/a@b"),
        ("mail me@example.org", "mail me@example.org"),
    ],
)
def test_texts(text: str, shown: str) -> None:
    assert redact_text(text) == shown


@pytest.mark.parametrize(
    "name",
    ["password", "PGPASSWORD", "--db-password", "api_key", "apiKey", "X-Auth-Token", "client_secret", "aws.secret_key"],
)
def test_names_that_say_secret(name: str) -> None:
    assert is_secret_name(name)


@pytest.mark.parametrize("name", ["key_name", "max_tokens", "tokenizer", "sort_key", "monkey", "author", "passes"])
def test_names_that_do_not(name: str) -> None:
    assert not is_secret_name(name)


def test_arguments_keep_what_is_no_secret() -> None:
    assert redact_arguments(["--token", "--verbose", "x", "lr=0.1"]) == ["--token", "--verbose", "x", "lr=0.1"]


def test_values_in_maps_are_hidden_by_their_names() -> None:
    value = {"password": "hush", "empty": "", "nested": {"token": 3}, "list": ["https://a:hush@b/"], "rate": 0.5}
    assert redact_value(value) == {
        "password": "***",
        "empty": "",
        "nested": {"token": "***"},
        "list": ["https://a:***@b/"],
        "rate": 0.5,
    }


def test_a_remote_is_stripped_of_its_user() -> None:
    assert strip_userinfo("https://me:hush@host/x.git") == "https://host/x.git"
    assert strip_userinfo("git@host:team/x.git") == "git@host:team/x.git"
