"""Credentials in text: logins, headers, base64 of what this process holds, and fragments."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lrtrack import redaction
from lrtrack.redaction import bare_uri, redact

LOGIN = base64.b64encode(b"alice:S3CR3T-pass").decode()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"refused: Basic {LOGIN}", "refused: Basic ***"),
        (f"refused: basic%20{LOGIN}", "refused: basic%20***"),
        (f"{{'Authorization': 'Basic {LOGIN}'}}", "{'Authorization': 'Basic ***'}"),
        ("Authorization: Bearer abc", "Authorization: Bearer ***"),
        ("proxy-authorization=Digest abc=", "proxy-authorization=Digest ***"),
        ("got Bearer eyJhbGciOiJIUzI1NiJ9.e30.x", "got Bearer ***"),
        ("X-Api-Key: 0123456789abcdef", "X-Api-Key: ***"),
        ("Cookie: session=abc; user=alice\nnext", "Cookie: ***\nnext"),
        ('{"password": "abc", "user": "alice"}', '{"password": "***", "user": "alice"}'),
        ("set MY_API_KEY=abc first", "set MY_API_KEY=*** first"),
        ("Bearer token is missing", "Bearer token is missing"),
        ("Basic training: 3 of 4", "Basic training: 3 of 4"),
        ("authorization: failed", "authorization: failed"),
        ("1,000 tokens=1000", "1,000 tokens=1000"),
    ],
)
def test_credentials_that_look_like_some(text: str, shown: str) -> None:
    """Headers, cookies and secret fields lose their value; words about credentials stay."""
    assert redact(text) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("http://h:5000/#S3CR3T", "http://h:5000/#***"),
        ("http://h/#hunter", "http://h/#***"),
        ("http://h/a#x=1&key", "http://h/a#***"),
        ("http://h/#/experiments/1/runs/2", "http://h/#/experiments/1/runs/2"),
        ("see https://d.org/page.html#some-part.", "see https://d.org/page.html#some-part."),
        ("step #3 of a run", "step #3 of a run"),
    ],
)
def test_fragments(text: str, shown: str) -> None:
    """A fragment of an address may be a secret, unless it is a page's route or a section."""
    assert (redact(text), bare_uri(text)) == (shown, shown)


@pytest.fixture
def environment(clean_place: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Credentials in variables, in an address and in a login file; returns that file."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://alice:S3CR3T%2Fpass@host:5000")
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "bob")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "mlflow")
    monkeypatch.setenv("WANDB_API_KEY", "0123456789abcdef0123")
    monkeypatch.setenv("AWS_CREDENTIALS", "/home/alice/credentials")
    path = clean_place / "logins"
    path.write_text("machine h login carol password S3CR3T-netrc\n")
    monkeypatch.setenv("NETRC", str(path))
    return path


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("it said S3CR3T/pass", "it said ***"),
        ("it said S3CR3T%2Fpass", "it said ***"),
        ("key 0123456789abcdef0123 is unknown", "key *** is unknown"),
        ("carol has S3CR3T-netrc", "carol has ***"),
        (base64.b64encode(b"bob:mlflow").decode(), "***=="),
        (f"at /x/{base64.urlsafe_b64encode(b'api:0123456789abcdef0123').decode()}", "at ***"),
        (f"at %20{base64.b64encode(b'alice:S3CR3T/pass').decode()}", "at %***="),
        ("mlflow at host:5000", "mlflow at host:5000"),
        ("read /home/alice/credentials", "read /home/alice/credentials"),
        ("run 0123456789abcdef0124ffff00001111", "run 0123456789abcdef0124ffff00001111"),
    ],
)
@pytest.mark.usefixtures("environment")
def test_the_credentials_of_this_process(text: str, shown: str) -> None:
    """What variables and the login file hold is removed, also in base64 with anything around."""
    assert redact(text) == shown


def test_an_address_does_not_depend_on_the_process(environment: Path, monkeypatch) -> None:
    """An address that holds the text of some password by chance is stored as it is."""
    monkeypatch.setenv("SOME_TOKEN", "tracking-host")

    assert bare_uri("http://tracking-host:5000") == "http://tracking-host:5000"
    assert redact("http://tracking-host:5000") == "http://***:5000"


def test_a_login_file_that_changes(environment: Path) -> None:
    """A new password in the login file is removed from then on, and a broken file is none."""
    before = redact("it said S3CR3T-later")
    environment.write_text("machine h login carol password S3CR3T-later-on\n")
    after = redact("it said S3CR3T-later-on")
    environment.write_text("nonsense {\n")

    assert (before, after) == ("it said S3CR3T-later", "it said ***")
    assert redact("it said S3CR3T-later-on") == "it said S3CR3T-later-on"


def test_credentials_that_a_tracker_has_read(monkeypatch) -> None:
    """What a tracker has read from its own file is removed like any other secret."""
    monkeypatch.setattr(redaction, "_remembered", set())
    redaction.remember(["S3CR3T-of-a-file", ""])

    assert redact("it said S3CR3T-of-a-file.") == "it said ***."


@settings(deadline=None, max_examples=60)
@given(
    st.text(st.characters(codec="ascii", exclude_categories=("Cc",)), max_size=9),
    st.binary(max_size=5),
    st.binary(max_size=5),
)
def test_base64_at_any_offset(around: str, before: bytes, after: bytes) -> None:
    """A password is found in base64 wherever the encoded bytes around it begin and end."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("THE_PASSWORD", "S3CR3T-pass")
        text = base64.b64encode(before + b":S3CR3T-pass:" + after).decode()
        shown = redact(f"{around} {text} {around}")

    assert text.rstrip("=") not in shown


@settings(deadline=None, max_examples=60)
@given(st.binary(max_size=5), st.integers(0, 30), st.integers(8, 30), st.booleans())
def test_a_part_of_a_login_in_base64(before: bytes, start: int, length: int, url: bool) -> None:
    """Any part of an encoded login that shows 6 bytes of it is removed, without a scheme, too."""
    login = b"alice-the-user:S3CR3T-pass"
    encode = base64.urlsafe_b64encode if url else base64.b64encode
    encoded = encode(before + login).decode().rstrip("=")
    start = max(min(start, len(encoded) - length), 0)
    part = encoded[start : start + length]
    first, last = -(-start * 6 // 8) - len(before), (start + len(part)) * 6 // 8 - len(before)
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "alice-the-user")
        monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "S3CR3T-pass")
        shown = redact(f"refused: {part}")

    assert min(last, len(login)) - max(first, 0) < 6 or shown == "refused: ***"


@pytest.mark.usefixtures("environment")
def test_base64_in_lines_and_in_addresses() -> None:
    """Nothing of an encoded login stays where it is broken into lines or percent-encoded."""
    encoded = base64.b64encode(b"bob:S3CR3T-netrc, carol:S3CR3T-netrc").decode()

    assert redact(f"{encoded[:16]}\n {encoded[16:32]}\n {encoded[32:]}") == "***\n ***\n ***"
    assert redact(f"{encoded[:22]}%3D%0A{encoded[22:]}") == "***%3D%***"


def test_words_that_are_no_base64(environment: Path) -> None:
    """Paths, ids and words of a message stay, whatever they would be in base64."""
    text = "lrtrack/trackers/mlflow/stores/artifacts: 8f14e45fceea167a5a36dedd4bea2543 not-found"

    assert redact(text) == text


@pytest.mark.parametrize("before", ["", "9", "see.", "(", "a-", "é", "x:"])
def test_a_login_behind_other_characters(before: str) -> None:
    """The login in an address is hidden whatever comes right before its scheme."""
    assert redact(f"{before}http://alice:S3CR3T@host/x") == f"{before}http://host/x"


def test_long_text_without_an_address(environment: Path) -> None:
    """A mebibyte without spaces comes back as it is; at quadratic cost it would take an hour."""
    text = "x" * 2**20

    assert redact(text) == text
