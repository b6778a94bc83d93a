"""What real W&B clients send arrives: online, resumed, offline, shared runs."""

from __future__ import annotations

import threading
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from . import Loopback
from .clients import FEW, command, look, script, values
from .http import Asked

ONLINE = """
import wandb
with wandb.init(
    project="p", id="one", name="shown", group="g", tags=["x", "y"], notes="n",
    config={"lr": 0.1, "schedule": {"name": "cosine", "steps": [1, 2]}},
) as run:
    run.define_metric("step")
    run.define_metric("loss", step_metric="step", summary="min")
    for step in range(3):
        run.log({"step": step, "loss": [0.5, 0.25, 1.0][step], "odd": float("nan")})
    open("saved.txt", "w").write("hello")
    run.save("saved.txt", policy="now")
    run.summary["best"] = 7
"""


def test_online_run_arrives_whole(loopback: Loopback) -> None:
    """Config, tags, group, notes, summary, history, a saved file and the end of an online run."""
    done = script(loopback, ONLINE)

    run = loopback.run("tester/p/one")
    assert done.returncode == 0, done.stderr
    assert run.config == {"lr": 0.1, "schedule": {"name": "cosine", "steps": [1, 2]}}
    assert (run.name, run.group, run.tags, run.notes) == ("shown", "g", ["x", "y"], "n")
    assert run.state == "finished"
    assert values(run, "loss") == [0.5, 0.25, 1.0]
    assert [row["_step"] for row in run.history] == [0, 1, 2]
    assert (run.summary["loss"], run.summary["best"]) == ({"min": 0.25}, 7)
    assert {metric["1"] for metric in run.raw_config["_wandb"]["value"]["m"]} == {"step", "loss"}
    assert run.files["saved.txt"] == b"hello"
    assert loopback.operations()[0] == "UpsertBucket"


def test_failing_script_leaves_failed_run(loopback: Loopback) -> None:
    """A script that ends with an error leaves a run in the state `failed`."""
    code = "import sys, wandb\nwandb.init(project='p').log({'value': 1})\nsys.exit(3)"
    done = script(loopback, code)

    run = loopback.run("tester/p")
    assert (done.returncode, run.state, run.exit_code) == (3, "failed", 3)
    assert values(run) == [1]


def test_artifacts_and_tables_arrive(loopback: Loopback, clean_place: Path) -> None:
    """Artifacts come with their files, aliases and metadata, and so do logged tables."""
    code = """
import wandb
with wandb.init(project="p", id="r") as run:
    for content in ("one", "two"):
        open("a.txt", "w").write(content)
        artifact = wandb.Artifact("rows", type="data", metadata={"n": 1})
        artifact.add_file("a.txt", name="deep/a.txt")
        run.log_artifact(artifact, aliases=["latest", content]).wait()
    run.log({"table": wandb.Table(columns=["x"], data=[[1]])})
"""
    done = script(loopback, code)

    assert done.returncode == 0, done.stderr
    first, second, table = loopback.artifacts("tester/p")
    assert [each.files for each in (first, second)] == [
        {"deep/a.txt": b"one"},
        {"deep/a.txt": b"two"},
    ]
    assert (first.name, first.type, first.metadata, first.run) == ("rows", "data", {"n": 1}, "r")
    assert [each.version for each in (first, second)] == [0, 1]
    assert [sorted(each.aliases) for each in (first, second)] == [["one"], ["latest", "two"]]
    assert {each.state for each in (first, second, table)} == {"COMMITTED"}
    code = "import wandb; print(wandb.Api().artifact('p/rows:{}').download('{}'))"
    for version, content in (("v0", "one"), ("latest", "two")):
        assert look(loopback, code.format(version, version)).returncode == 0
        assert clean_place.joinpath(version, "deep", "a.txt").read_text() == content
    code = "import wandb; print(len(wandb.Api().run('p/r').logged_artifacts()))"
    assert look(loopback, code).stdout.split() == ["3"]
    assert (table.type, list(table.files)) == ("run_table", ["table.table.json"])
    assert loopback.run("tester/p/r").history[0]["table"]["_type"] == "table-file"


@pytest.mark.parametrize("mode", ["must", "allow"])
def test_resumed_run_goes_on(loopback: Loopback, mode: str) -> None:
    """A resumed run appends its rows, with steps that go on."""
    script(loopback, FEW)
    done = script(loopback, FEW, mode)

    run = loopback.run("tester/p/few")
    assert done.returncode == 0, done.stderr
    assert values(run) == [*range(5), *range(5)]
    assert [row["_step"] for row in run.history] == list(range(10))


@pytest.mark.parametrize("appends", [False, True])
def test_same_id_without_resume(loopback: Loopback, appends: bool) -> None:
    """A run that starts again without `resume` writes over its rows, or goes on, as set."""
    loopback.appends = appends
    script(loopback, FEW)
    script(loopback, FEW)
    assert values(loopback.run("tester/p/few")) == list(range(5)) * (2 if appends else 1)


def test_resume_of_what_is_not_there(loopback: Loopback) -> None:
    """`resume="must"` fails without the run, and `resume="never"` with it."""
    assert "does not exist" in script(loopback, FEW, "must").stderr
    script(loopback, FEW)
    assert "already exists" in script(loopback, FEW, "never").stderr


def test_offline_run_is_synced_once(loopback: Loopback, clean_place: Path) -> None:
    """An offline run asks for nothing, and `wandb sync` brings it whole, twice the same."""
    done = script(loopback, FEW, WANDB_MODE="offline")
    assert (done.returncode, loopback.requests) == (0, [])
    (folder,) = clean_place.glob("wandb/offline-run-*")

    for again in ((), ("--include-synced",)):
        done = command(loopback, "sync", *again, str(folder))
        assert done.returncode == 0, done.stderr
        assert values(loopback.run("tester/p/few")) == list(range(5))
        assert loopback.run("tester/p/few").state == "finished"


def test_several_writers_share_a_run(loopback: Loopback) -> None:
    """In shared mode rows of all writers come in order of arrival, with the server's steps."""
    code = """
import sys, wandb
label = sys.argv[1]
settings = wandb.Settings(
    mode="shared", x_label=label, x_primary=label == "a", x_update_finish_state=label == "a"
)
with wandb.init(project="p", id="both", settings=settings) as run:
    for value in range(3):
        run.log({label: value})
"""
    for label, state in (("b", "running"), ("a", "finished")):
        assert script(loopback, code, label).returncode == 0
        assert loopback.run("tester/p/both").state == state

    run = loopback.run("tester/p/both")
    assert (values(run, "a"), values(run, "b")) == ([0, 1, 2], [0, 1, 2])
    assert [row["_step"] for row in run.history] == list(range(6))


def test_no_thread_or_port_is_left() -> None:
    """After the block there is no thread more than before, and nobody listens."""
    before = set(threading.enumerate())
    with Loopback() as server:
        url = server.url
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.urlopen(f"{url}/storage/a/b/c/d")
        server.down()
        server.up()
        assert server.url == url
    assert set(threading.enumerate()) == before
    with pytest.raises(urllib.error.URLError, match="refused"):
        urllib.request.urlopen(url)


def test_part_of_a_file(loopback: Loopback) -> None:
    """Files can be read in ranges of bytes."""
    loopback.store.made_project("tester", "p")
    script(loopback, "import wandb\nwandb.init(project='p', id='r').finish()")
    loopback.run("tester/p/r").files["d/e.txt"] = b"0123456789"
    asked = {"bytes=2-4": b"234", "bytes=-3": b"789", "bytes=8-": b"89"}
    for wanted, expected in asked.items():
        reply = loopback._routed(
            Asked("GET", "/storage/tester/p/r/d/e.txt", {"range": wanted}, b"")
        )
        assert (reply.status, reply.body) == (206, expected)
