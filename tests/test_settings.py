"""Where settings come from, and that credentials never get further."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lrtrack.errors import UsageError
from lrtrack.redaction import redact
from lrtrack.settings import Settings, read, work_from, working_directory


def configure(folder: Path, text: str) -> Path:
    """Write a `pyproject.toml`, and return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "pyproject.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_defaults(tmp_path: Path) -> None:
    """With nothing said, nothing is said, and journals live in the working directory."""
    assert read({}, tmp_path) == Settings(None, None, tmp_path / ".lrtrack")


def test_the_real_environment_and_directory_count(clean_place: Path, monkeypatch) -> None:
    """Without arguments, `os.environ` and the working directory are read."""
    monkeypatch.setenv("LRTRACK_TRACKER", "local")

    assert read() == Settings("local", None, clean_place / ".lrtrack", quiet=True)


def test_environment_over_file_over_default(tmp_path: Path) -> None:
    """Each source counts only where those before it are silent; empty is silent."""
    text = '[tool.lrtrack]\ntracker = "local"\nexperiment = "mine"\ndir = "here"\n'
    configure(tmp_path, text)

    assert read({}, tmp_path) == Settings("local", "mine", tmp_path / "here")
    assert read({"LRTRACK_TRACKER": "mlflow,wandb", "LRTRACK_DIR": "there"}, tmp_path) == Settings(
        "mlflow,wandb", "mine", tmp_path / "there"
    )
    assert read({"LRTRACK_TRACKER": "", "LRTRACK_DIR": ""}, tmp_path) == Settings(
        "local", "mine", tmp_path / "here"
    )


def test_the_nearest_pyproject_counts_alone(tmp_path: Path) -> None:
    """Upwards from the working directory, the first file ends the search, even a silent one."""
    configure(tmp_path, '[tool.lrtrack]\nexperiment = "outer"\n')
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    before = read({}, inner).experiment
    configure(tmp_path / "a", '[project]\nname = "a"\n')
    silent = read({}, inner).experiment
    configure(tmp_path / "a", '[tool.lrtrack]\nexperiment = "inner"\n')

    assert (before, silent, read({}, inner).experiment) == ("outer", None, "inner")


def test_dir_is_relative_to_the_file_that_says_it(tmp_path: Path, monkeypatch) -> None:
    """`dir` from a file does not move with the script; `LRTRACK_DIR` is relative to it."""
    configure(tmp_path, '[tool.lrtrack]\ndir = "journals"\n')
    inner = tmp_path / "a"
    inner.mkdir()
    monkeypatch.setenv("HOME", "/home/someone")

    assert read({}, inner).directory == tmp_path / "journals"
    assert read({"LRTRACK_DIR": "journals"}, inner).directory == inner / "journals"
    assert read({"LRTRACK_DIR": "~/j"}, inner).directory == Path("/home/someone/j")
    assert read({"LRTRACK_DIR": "/var/j"}, inner).directory == Path("/var/j")


def test_variables_to_pass_on(tmp_path: Path) -> None:
    """The environment's list replaces that of the file, and may have commas or spaces."""
    configure(tmp_path, '[tool.lrtrack]\npass_env = ["A", "B_*"]\n')

    assert read({}, tmp_path).pass_env == ("A", "B_*")
    assert read({"LRTRACK_PASS_ENV": "C, D_*,E F"}, tmp_path).pass_env == ("C", "D_*", "E", "F")


@pytest.mark.parametrize("text", ['dir = ""\n', ""], ids=["empty", "absent"])
def test_an_empty_dir_is_the_default(tmp_path: Path, text: str) -> None:
    """An empty `dir` does not put journals among the project's own files."""
    configure(tmp_path, f"[tool.lrtrack]\n{text}")

    assert read({}, tmp_path).directory == tmp_path / ".lrtrack"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[tool.lrtrack\n", r"Cannot read {path}: .*Fix: correct or remove the file\."),
        ("x = 1\nx = 2\n", r"Cannot read {path}: "),
        ('[tool.lrtrack]\ntraker = "local"\n', r"{path}: .*'traker'.*Did you mean 'tracker'\?"),
        ("[tool.lrtrack]\ntracker = 3\n", r"{path}: tracker must be text, not 3"),
        ('[tool.lrtrack]\npass_env = "A"\n', r"{path}: pass_env must be a list of names, not 'A'"),
        ("[tool.lrtrack]\npass_env = [1]\n", r"{path}: pass_env must be .* names, not \[1\]"),
        ('[tool]\nlrtrack = "local"\n', r"\[tool\.lrtrack\] in {path} must be a table"),
        ('[tool.lrtrack]\ndir = "~nobody-has-this-name/x"\n', r"dir .*{path} is '~nobody-"),
    ],
    ids=[
        "no TOML",
        "a key twice",
        "unknown key",
        "no text",
        "no list",
        "no names",
        "no table",
        "no such home",
    ],
)
def test_mistakes_name_the_file(tmp_path: Path, text: str, words: str) -> None:
    """What cannot be meant is a usage error that names the file."""
    path = configure(tmp_path, text)
    with pytest.raises(UsageError, match=words.replace("{path}", str(path))) as caught:
        read({}, tmp_path)

    assert caught.value.exit_status == 2


def test_a_file_that_is_not_utf_8_is_named(tmp_path: Path) -> None:
    """Bytes that are no UTF-8 are the user's mistake too, not a crash."""
    path = tmp_path / "pyproject.toml"
    path.write_bytes(b'[tool.lrtrack]\nexperiment = "\xff"\n')
    with pytest.raises(UsageError, match=str(path)):
        read({}, tmp_path)


def test_an_unknown_home_in_the_environment_is_told(tmp_path: Path) -> None:
    """A home directory that does not exist is named with the variable that says it."""
    with pytest.raises(UsageError, match="LRTRACK_DIR is '~nobody-has-this-name'"):
        read({"LRTRACK_DIR": "~nobody-has-this-name"}, tmp_path)


def test_tool_of_another_shape_is_none_of_ours(tmp_path: Path) -> None:
    """A `tool` that is no table is not lrtrack's to complain about."""
    configure(tmp_path, 'tool = "hammer"\n')

    assert read({}, tmp_path).tracker is None


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("http://user:secret@host:5000/x", "http://host:5000/x"),
        ("postgresql+psycopg2://u:p@ss@db/mlflow", "postgresql+psycopg2://db/mlflow"),
        ("mysql://u:p/a?s#s@db/x", "mysql://db/x"),
        ("https://token@host/", "https://host/"),
        ("http://u:p@a/ and http://u:p@b/.", "http://a/ and http://b/."),
        ("HTTP://u:p@h", "HTTP://h"),
        ("http://[::1]:5000/x", "http://[::1]:5000/x"),
        ("http://h/a@b", "http://h/a@b"),
        ("mail me@home.org", "mail me@home.org"),
        ("sqlite:////home/me@work/mlflow.db", "sqlite:////home/me@work/mlflow.db"),
        ("http://h/?token=abc&x=1", "http://h/?token=***&x=1"),
        ("http://h/?x=1&API_KEY=abc", "http://h/?x=1&API_KEY=***"),
        ("http://h/?access_token=abc", "http://h/?access_token=***"),
        ("s3://b/k?X-Amz-Signature=abc&y=2", "s3://b/k?X-Amz-Signature=***&y=2"),
        ("db://h/x;pwd=abc", "db://h/x;pwd=***"),
        ("http://h/#access_token=abc", "http://h/#access_token=***"),
        ("", ""),
    ],
)
def test_redact(text: str, shown: str) -> None:
    """Credentials go, everything else stays as it is."""
    assert redact(text) == shown


WORD = st.text("abcXYZ019-._~%", min_size=1, max_size=8)
#: Anything but blanks, which no URI holds; the sentinel makes it recognisable.
SECRET = st.text(st.characters(exclude_categories=("Z", "C")), max_size=12).map(
    lambda text: f"{text}S3CR3T{text}"
)
SCHEME = st.sampled_from(["http", "https", "postgresql", "mysql+pymysql", "mssql+pyodbc", "s3"])


@settings(deadline=None)
@given(SCHEME, st.text("abcXYZ019-._~%", max_size=8), SECRET, WORD, st.text(max_size=20))
def test_a_password_never_survives(scheme, user, password, host, around) -> None:
    """Whatever a password is made of, and whatever stands around its URI, it is gone."""
    shown = redact(f"{around} {scheme}://{user}:{password}@{host}:5000/path?x=1 {around}")

    assert "S3CR3T" not in shown
    assert f"{scheme}://{host}:5000/path?x=1" in shown


@settings(deadline=None)
@given(SCHEME, WORD, st.sampled_from(["password", "token", "api_key", "Secret", "sslpassword"]))
def test_a_secret_in_the_query_never_survives(scheme, host, key) -> None:
    """Secrets given as query parameters are replaced, their neighbours kept."""
    shown = redact(f"{scheme}://{host}/db?a=1&{key}=S3CR3T/@:?#x&b=2")

    assert "S3CR3T" not in shown
    assert shown.endswith(f"&{key}=***&b=2")


def test_a_program_that_is_moved_elsewhere_keeps_its_place(tmp_path, monkeypatch) -> None:
    """Configuration and relative paths are those of where it was started."""
    (tmp_path / "pyproject.toml").write_text('[tool.lrtrack]\ntracker = "local"\n')
    monkeypatch.setattr("lrtrack.settings._working_directory", None)
    monkeypatch.setenv("LRTRACK_DIR", "journals")
    work_from(tmp_path)

    assert (read().tracker, read().directory) == ("local", tmp_path / "journals")
    work_from(None)
    assert working_directory() == Path.cwd()


def test_garbage_is_collected_rarely_in_processes_of_lrtrack(cold_start: None) -> None:
    """A process of lrtrack's own collects garbage rarely, and not as it ends; others as ever."""
    program = """
import atexit, gc, sys
from lrtrack.settings import claim_process, owns_process
atexit.register(lambda: print(gc.get_freeze_count() > 0))
if sys.argv[1] == "own":
    claim_process()
    claim_process()
print(owns_process(), gc.isenabled(), gc.get_threshold()[0] > 10_000)
"""
    said = [
        subprocess.run([sys.executable, "-c", program, whose], capture_output=True, text=True)
        for whose in ("own", "user's")
    ]

    assert [process.stdout.split() for process in said] == [
        ["True", "True", "True", "True"],
        ["False", "True", "False", "False"],
    ]


@pytest.mark.parametrize(
    ("variable", "written", "expected"),
    [("", "", "all"), ("", "thin", "thin"), ("ALL", "thin", "all"), (" Thin ", "all", "thin")],
)
def test_which_rows_wandb_gets(tmp_path: Path, variable: str, written: str, expected: str) -> None:
    """The variable counts before the file, and without both W&B gets all rows."""
    configure(tmp_path, f'[tool.lrtrack]\nwandb_rows = "{written}"\n' if written else "")

    assert read({"LRTRACK_WANDB_ROWS": variable}, tmp_path).wandb_rows == expected


def test_unknown_rows(tmp_path: Path) -> None:
    """An unknown value names where it was found, and the values that exist."""
    with pytest.raises(UsageError, match=r"LRTRACK_WANDB_ROWS 'few'.*Available: all, thin"):
        read({"LRTRACK_WANDB_ROWS": "few"}, tmp_path)
    configure(tmp_path, '[tool.lrtrack]\nwandb_rows = "thim"\n')
    with pytest.raises(UsageError, match=r"pyproject.toml: .*'thim'. Did you mean 'thin'\?"):
        read({}, tmp_path)


def test_where_norms_every_comes_from(tmp_path: Path) -> None:
    """The environment comes before the file, which may give whole numbers alone."""
    configure(tmp_path, "[tool.lrtrack]\nnorms_every = 20\n")

    assert read({}, tmp_path).norms_every == 20
    assert read({"LRTRACK_NORMS_EVERY": " 5 "}, tmp_path).norms_every == 5
    with pytest.raises(UsageError, match=r"LRTRACK_NORMS_EVERY must be a whole .* got 'often'"):
        read({"LRTRACK_NORMS_EVERY": "often"}, tmp_path)


@pytest.mark.parametrize("written", ["true", "2.5", '"7"'])
def test_norms_every_of_another_type(tmp_path: Path, written: str) -> None:
    """A file's `norms_every` that is not a whole number is an error that names the file."""
    path = configure(tmp_path, f"[tool.lrtrack]\nnorms_every = {written}\n")

    with pytest.raises(UsageError, match=r"norms_every must be a whole number, not") as error:
        read({}, tmp_path)
    assert str(path) in str(error.value)
