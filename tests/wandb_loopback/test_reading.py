"""What the server holds is read back, and changed, through `wandb.Api()`."""

from __future__ import annotations

import json
from typing import Any

from . import Loopback
from .clients import FEW, look, script, values

MANY = """
import wandb
with wandb.init(project="p", id="many") as run:
    for i in range(2000):
        run.log({"value": i / 7, "opt/g0.lr": i})
"""


def read(server: Loopback, code: str) -> Any:
    """What `code` prints as JSON when it looks at the server through `wandb.Api()`."""
    done = look(server, f"import json, wandb\napi = wandb.Api()\n{code}")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_two_thousand_rows_come_back(loopback: Loopback) -> None:
    """2000 rows arrive in order, and `scan_history`, `history` and a download give them back."""
    script(loopback, MANY)

    assert values(loopback.run("tester/p/many")) == [i / 7 for i in range(2000)]
    code = """
run = api.run("tester/p/many")
print(json.dumps({
    "scanned": [row["value"] for row in run.scan_history()],
    "keyed": [row["opt/g0.lr"] for row in run.scan_history(keys=["opt/g0.lr"])],
    "some": run.history(samples=100, pandas=False, keys=["value"])[-1],
    "last": run.lastHistoryStep,
    "summary": json.loads(run.file("wandb-summary.json").download().read())["value"],
}))"""
    assert read(loopback, code) == {
        "scanned": [i / 7 for i in range(2000)],
        "keyed": list(range(2000)),
        "some": {"_step": 1999, "value": 1999 / 7},
        "last": 1999,
        "summary": 1999 / 7,
    }


def test_parquet_exports_are_read(loopback: Loopback) -> None:
    """With exports on, the client reads a finished run's rows from a Parquet file."""
    script(loopback, MANY)
    loopback.parquet = True
    loopback.requests.clear()

    code = """
run = api.run("tester/p/many")
print(json.dumps([
    [row["value"] for row in run.scan_history()],
    [row["value"] for row in run.scan_history(keys=["value"], use_cache=False)],
]))"""
    expected = [i / 7 for i in range(2000)]
    assert read(loopback, code) == [expected, expected]
    assert "download" in loopback.operations()
    assert "HistoryPage" not in loopback.operations()


def test_runs_are_chosen_and_ordered(loopback: Loopback) -> None:
    """`Api.runs` filters by config, tags and state, orders by summary, and pages."""
    code = """
import wandb
for i in range(3):
    config = {"lr": i, "deep": {"name": "ab"[i % 2]}}
    with wandb.init(project="p", id=f"r{i}", config=config, tags=[f"t{i}"]) as run:
        run.log({"loss": [0.3, 0.1, 0.2][i]})
"""
    script(loopback, code)
    code = """
def ids(**asked):
    return [run.id for run in api.runs("tester/p", **asked)]
print(json.dumps([
    ids(),
    ids(per_page=1),
    ids(filters={"config.lr": {"$gt": 0}}, order="-summary_metrics.loss"),
    ids(filters={"$or": [{"tags": "t0"}, {"config.deep.name.value": "b"}]}),
    ids(filters={"state": "running"}),
    ids(order="+summary_metrics.loss"),
    api.runs("tester/p")[1].config,
]))"""
    every = ["r0", "r1", "r2"]
    expected = [every, every, ["r2", "r1"], ["r0", "r1"], [], ["r1", "r2", "r0"]]
    assert read(loopback, code) == [*expected, {"lr": 1, "deep": {"name": "b"}}]


def test_unknown_project_and_run(loopback: Loopback) -> None:
    """What does not exist is null, which the client turns into its own errors."""
    code = """
found = []
for ask in (lambda: api.run("tester/none/x"), lambda: list(api.runs("tester/none"))):
    try:
        ask()
    except Exception as error:
        found.append(str(error))
print(json.dumps(found))"""
    assert read(loopback, code) == [
        "Could not find run <Run tester/none/x (not found)>",
        "Could not find project none",
    ]


def test_changes_through_the_api(loopback: Loopback) -> None:
    """Tags, config, summary and files can be changed, and runs deleted, through `wandb.Api()`."""
    script(loopback, FEW)
    code = """
run = api.run("tester/p/few")
run.tags.append("later"); run.config["late"] = 1; run.summary["best"] = 5
run.update()
open("up.txt", "w").write("up")
run.upload_file("up.txt")
run.file("output.log").delete() if "output.log" in [f.name for f in run.files()] else None
print(json.dumps(sorted(f.name for f in api.run("tester/p/few").files(names=["up.txt"]))))"""
    assert read(loopback, code) == ["up.txt"]

    run = loopback.run("tester/p/few")
    assert (run.tags, run.config, run.summary["best"]) == (["later"], {"late": 1}, 5)
    assert (run.files["up.txt"], run.state) == (b"up", "finished")
    assert read(loopback, "api.run('tester/p/few').delete()\nprint('null')") is None
    assert loopback.runs("tester/p") == []
