"""What is hidden, and what is left alone."""

from __future__ import annotations

import pytest

from modeldb_core.runtime.redaction import (
    is_secret_name,
    redact_arguments,
    redact_diff,
    redact_message,
    redact_text,
    redact_value,
    strip_userinfo,
)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postgresql://me:hush@host:5432/db", "postgresql://me:***@host:5432/db"),
        ("postgresql://me@server:hush@host/db", "postgresql://me@server:***@host/db"),
        ("postgresql+psycopg2://me:p@ss@host/db", "postgresql+psycopg2://me:***@host/db"),
        ("see https://:hush@host/ and ftp://a:hush@b", "see https://:***@host/ and ftp://a:***@b"),
        ("https://ghp_0123456789abcdefghij0123@host/x", "https://***@host/x"),
        ("https://host/?api_key=hush&user=me", "https://host/?api_key=***&user=me"),
        ("s3://bucket/x?AWSAccessKeyId=hush&Signature=hush", "s3://bucket/x?AWSAccessKeyId=hush&Signature=***"),
        ("token ghp_0123456789abcdefghij0123 here", "token *** here"),
        ("shown mdb_CoCDyvy7XTBxcInx54qkuBhamJELFrKFvGrm7GFK83E once", "shown *** once"),
        ("sqlite:///folder/modeldb.db", "sqlite:///folder/modeldb.db"),
        ("http://localhost:5000/a@b", "http://localhost:5000/a@b"),
        ("postgresql://me@one:1,two:2/db", "postgresql://me@one:1,two:2/db"),
        ("mail me@example.org", "mail me@example.org"),
    ],
)
def test_texts(text: str, shown: str) -> None:
    assert redact_text(text) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (
            "connection failed: host=db user=me password=hush dbname=x",
            "connection failed: host=db user=me password=*** dbname=x",
        ),
        ("[08001] DRIVER={x};UID=me;PWD=hush;", "[08001] DRIVER={x};UID=me;PWD=***;"),
        ("refused (token=hush)", "refused (token=***)"),
        ("wrong password: hush", "wrong password: ***"),
        ("login {user: me, password: hush}", "login {user: me, password: ***}"),
        ("line 1\n  api_key = hush", "line 1\n  api_key = ***"),
        ("max_tokens=512, lr=0.1, key: 3", "max_tokens=512, lr=0.1, key: 3"),
        ("f() got an unexpected keyword argument 'token'", "f() got an unexpected keyword argument 'token'"),
        ("set password=$PASSWORD", "set password=$PASSWORD"),
        ("unexpected token: end of file", "unexpected token: end of file"),
    ],
)
def test_messages_are_without_secrets_that_stand_unquoted(text: str, shown: str) -> None:
    assert redact_message(text) == shown


def test_of_a_traceback_the_messages_are_hidden_and_the_code_is_left_as_it_is() -> None:
    text = (
        "  + Exception Group Traceback (most recent call last):\n"
        '  |   File "a.py", line 3, in f\n'
        "  |     connect(password=of(me))\n"
        "  |     ~~~~~~~^^^^^^^^^^^^^^^^^\n"
        "  | ExceptionGroup: password=hush (1 sub-exception)\n"
        "  +-+---------------- 1 ----------------\n"
        '    |   File "b.py", line 1, in g\n'
        "    |     connect(token=mine)\n"
        "    | ValueError: no way\n"
        "    |     token=hush\n"
        "    +------------------------------------\n"
    )
    assert redact_message(text) == text.replace("hush", "***")


@pytest.mark.parametrize(
    "name",
    [
        "password",
        "PGPASSWORD",
        "--db-password",
        "api_key",
        "apiKey",
        "X-Auth-Token",
        "client_secret",
        "aws.secret_key",
        "secret.key",
        "_authToken",
        "AccountKey",
        "Authorization",
        "signing_key",
    ],
)
def test_names_that_say_secret(name: str) -> None:
    assert is_secret_name(name)


@pytest.mark.parametrize(
    "name", ["key_name", "max_tokens", "tokenizer", "sort_key", "monkey", "author", "passes", "pad_token", "eos_token"]
)
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


def test_a_secret_that_is_a_number_is_hidden_and_an_empty_one_is_not() -> None:
    given = {"password": 0, "pin_token": 1234, "secret": False, "api_key": "", "token": None}
    hidden = dict.fromkeys(("password", "pin_token", "secret"), "***")
    assert redact_value(given) == {**given, **hidden}


def test_a_remote_is_stripped_of_its_user() -> None:
    assert strip_userinfo("https://me:hush@host/x.git") == "https://host/x.git"
    assert strip_userinfo("git@host:team/x.git") == "git@host:team/x.git"


@pytest.mark.parametrize(
    "text",
    [
        'password = "hush"',
        "conf['password'] = 'hush'",
        'password: str = "hush"',
        '{"aws_secret_access_key": "hush", "x": 1}',
        '{"password": 4711}',
        '"{\\"password\\": \\"hush\\"}"',
        "url = 'AccountName=a;AccountKey=hush==;EndpointSuffix=x'",
        'dsn = "Password=hush;Server=x"',
        "curl -H 'X-Api-Key: hush'",
        'curl --header "Authorization: Bearer hush"',
        "{'Authorization': 'Bearer hush'}",
        "mysql --password hush",
        'os.environ.setdefault("API_TOKEN", "hush")',
        'parser.add_argument("--token", type=str, default="hush")',
        "const token = `hush`",
        'auth = ("me", "hush")',
        'credentials=["hush"]',
        "<password>hush</password>",
        '<add key="Password" value="hush"/>',
        "curl -u me:hush https://example.org",
        "curl --user 'me:hush' https://example.org",
        'os.system("mysql -u root -phush models")',
        'wandb.login(key="hush")',
        "-----BEGIN RSA PRIVATE KEY-----\nhush\n-----END RSA PRIVATE KEY-----",
        "-----BEGIN OPENSSH PRIVATE KEY-----\nhush and the rest was cut",
    ],
)
def test_what_a_name_calls_secret_is_hidden_in_any_text(text: str) -> None:
    shown = redact_text(text)
    assert "***" in shown
    assert "hush" not in shown
    assert "4711" not in shown
    lines = text.splitlines()
    for sign in "+- ":  # of a line that a diff adds, removes or leaves
        changed = "".join(f"{sign}{line}\n" for line in lines)
        assert "hush" not in redact_diff(f"diff --git a/x.py b/x.py\n{changed}")[0], sign


@pytest.mark.parametrize(
    "token",
    [
        "sk_live_4eC39HqLyjWDarjtT1zdp7dc",
        "AIza" + "SyA1234567890abcdefghijklmnopqrstu",
        "xoxb-1234567890-abcdefghij",
        "glpat-abcdefghij0123456789",
        "npm_" + "a1" * 18,
        "pypi-AgEIcHlwaS5vcmcCJGFiY2RlZg",
        "ASIA" + "ABCDEFGHIJKLMNOP",
        "dapi" + "0123456789abcdef" * 2,
        "1234567890:AA" + "x" * 33,
        "SG." + "a" * 22 + "." + "b" * 43,
    ],
)
def test_tokens_of_well_known_shapes_are_hidden_wherever_they_stand(token: str) -> None:
    assert redact_text(f"call({token!r})") == "call('***')"


@pytest.mark.parametrize(
    "text",
    [
        "password = get_password()",
        "token = tokenizer.next(text)",
        'tokenizer.pad_token = "[PAD]"',
        'eos_token: "EOS"',
        'headers = {"Authorization": f"Bearer {token}"}',
        "def connect(password: str = None) -> None:",
        'sorted(runs, key="loss")',
        'password = "$DB_PASSWORD"',
        '{"max_tokens": 5, "key": "value"}',
        "docker run -u 1000:1000 image",
        "if token == `x`: pass",
        "mkdir -p models/mysql; mysql -p",
        "<token/> and <token></token>",
    ],
)
def test_code_that_holds_no_secret_is_left_as_it_is(text: str) -> None:
    assert redact_diff(f"diff --git a/x.py b/x.py\n+{text}\n") == (f"diff --git a/x.py b/x.py\n+{text}\n", 0)


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (".env", "DB_PASSWORD=hush"),
        ("deploy.sh", "export API_KEY=hush"),
        ("values.yaml", "  password: hush"),
        (".npmrc", "//registry.example.org/:_authToken=hush"),
        (".netrc", "machine example.org login me password hush"),
        ("Dockerfile", "ENV DB_PASSWORD hush"),
        ("settings.ini", "secret = hush"),
        ("settings.ini", 'password = "hush"'),
        ("settings.toml", "password = 'hush'"),
        ("hosts.txt", "postgres://me:hush@host/db"),
        ("values.yaml", "db: {user: me, password: hush}"),
        ("id_rsa", "b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAAAAAAAAABAAAAMwAAAAtzc2gt"),
    ],
)
def test_in_files_that_are_no_code_unquoted_values_are_hidden_and_counted(path: str, line: str) -> None:
    shown, hidden = redact_diff(f"diff --git a/{path} b/{path}\n+USER=me\n+{line}\n-{line}\n")
    assert hidden == 2
    assert "hush" not in shown
    assert "AAAA" not in shown
    assert "+USER=me" in shown


def test_a_text_of_several_lines_in_yaml_is_hidden() -> None:
    lines = ["+password: |-", "+  hush", "+    hush", "+", "+user: me", " token: >", "   hush", " user: me"]
    shown, hidden = redact_diff("diff --git a/x.yaml b/x.yaml\n" + "\n".join(lines) + "\n")
    assert hidden == 2
    assert "hush" not in shown
    assert "+user: me" in shown
    assert " user: me" in shown


def test_secrets_on_a_command_line_are_hidden() -> None:
    given = ["train.py", "-phush", "-p", "8080", "--header", "Authorization: Bearer hush", "-u", "me:hush"]
    given += ["--config", '{"password":"hush"}', "--secret.key", "hush", "+db.password=hush", "--token", "-hush"]
    given += ["/password:hush", "{user: me, password: hush}", "--creds", "hush"]
    shown = redact_arguments(given)
    assert "hush" not in " ".join(shown)
    assert shown[:4] == ["train.py", "-p***", "-p", "8080"]
    assert shown[6:9] == ["-u", "me:***", "--config"]


@pytest.mark.parametrize(
    "piece",
    [
        "a",
        "a.b-",
        "a:",
        '"a="',
        "'-a'",
        '("a",',
        "http://a",
        'x="""',
        "eyJ",
        " ",
        ";a",
        "mysql ",
        "<a ",
        "login(",
        "-u a",
    ],
)
def test_long_texts_take_no_more_than_their_length(piece: str) -> None:
    """A pattern that looks at each word again and again would take hours for a diff of one line."""
    text = piece * (400_000 // len(piece))
    redact_diff(f"diff --git a/x b/x\n+{text}\n")
