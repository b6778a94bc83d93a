"""The user's key: private, made once, and the only one whose signatures count."""

from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from lrtrack import user_state
from lrtrack.errors import JournalError


def test_a_signature_is_valid_for_its_own_content_and_purpose_only() -> None:
    """Other content, another purpose and values that are no text are all refused."""
    signature = user_state.sign("journal", b"content")

    assert user_state.is_signed("journal", b"content", signature)
    assert not user_state.is_signed("journal", b"other content", signature)
    assert not user_state.is_signed("approval", b"content", signature)
    assert not user_state.is_signed("journal", b"content", None)
    assert not user_state.is_signed("journal", b"content", "é")


def test_another_key_does_not_accept_the_signature(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A signature made with the key of another state directory is refused."""
    signature = user_state.sign("journal", b"content")

    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "elsewhere"))

    assert not user_state.is_signed("journal", b"content", signature)


def test_the_key_and_its_directory_are_private() -> None:
    """The key has mode 0600 and its directory 0700, also where somebody has loosened them."""
    user_state.sign("journal", b"")
    folder = user_state.directory()
    (folder / "key").chmod(0o644)
    folder.chmod(0o777)

    user_state.sign("journal", b"")

    assert stat.S_IMODE((folder / "key").stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_threads_that_make_the_key_at_the_same_time_agree_on_it() -> None:
    """Of several keys made at once, the first one is used by all."""
    with ThreadPoolExecutor(8) as pool:
        signatures = set(pool.map(lambda _: user_state.sign("journal", b""), range(32)))

    assert len(signatures) == 1


def test_a_torn_key_is_replaced() -> None:
    """A key cut short by a full disk is not used."""
    first = user_state.sign("journal", b"")
    path = user_state.directory() / "key"
    path.write_bytes(path.read_bytes()[:7])

    second = user_state.sign("journal", b"")

    assert len(path.read_bytes()) == 32
    assert first != second


def test_a_directory_that_is_no_directory_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the state directory cannot be made, a private one elsewhere is used, or none."""
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    monkeypatch.setattr(user_state, "_candidates", lambda: iter([tmp_path / "file" / "lrtrack"]))

    with pytest.raises(JournalError, match="no private directory"):
        user_state.sign("journal", b"")


def test_a_process_without_a_home_directory_gets_one(monkeypatch) -> None:
    """A user id without an account keeps its key where it was, and has a home directory."""
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setattr("pwd.getpwuid", lambda _: {}["nobody"])
    before = user_state.directory()
    user_state.ensure_home()

    assert Path.home() == before
    assert user_state.directory() == before
