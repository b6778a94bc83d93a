"""The user's own W&B run: joined from outside his process, never ended, his steps his own."""

from __future__ import annotations

from typing import Any

import pytest
from wandb_loopback.clients import script

PLACE = "tester/p"
LOOP = """
import time, torch, wandb, lrtrack
optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(()))], lr=0.1)
run = wandb.init(project="p", config={"depth": 3}, tags=["mine"])
with lrtrack.track(optimizer, seed=1, config={"depth": 9, "width": 5}, flush_timeout=99) as tracked:
    assert tracked.id == run.id and wandb.run is run
    for step in range(200):
        optimizer.step()
        tracked.log(loss=1.0 / (1 + step))
        time.sleep(0.005)
        if step % 50 == 9:
            LOG
assert wandb.run is run
AFTER
"""


def rows(server: Any) -> tuple[list[dict], list[dict]]:
    """lrtrack's rows and the user's own, in the order of the server."""
    (run,) = server.runs(PLACE)
    ours = [row for row in run.history if "loss" in row]
    return ours, [row for row in run.history if "mine" in row]


def all_there(ours: list[dict]) -> None:
    """Every step, once, in order, with its value."""
    assert [row["lrtrack/step"] for row in ours] == list(range(200))
    assert [row["loss"] for row in ours] == [1.0 / (1 + step) for step in range(200)]


def test_a_run_whose_steps_wandb_counts(wandb_server):
    """Rows of both arrive; tags are added to, and to the config one key alone."""
    code = LOOP.replace("LOG", "run.log({'mine': step})").replace("AFTER", "run.finish()")
    done = script(wandb_server, code)

    assert done.returncode == 0, done.stderr
    (run,) = wandb_server.runs(PLACE)
    ours, mine = rows(wandb_server)
    all_there(ours)
    assert [row["mine"] for row in mine] == [9, 59, 109, 159]
    assert run.state == "finished"
    assert run.tags == ["mine", "constant", "cpu"]
    assert {key for key in run.config if key != "_wandb"} == {"depth", "lrtrack"}
    assert run.config["depth"] == 3
    assert run.config["lrtrack"]["config"] == {"depth": 9, "width": 5}
    assert run.config["lrtrack"]["seed"] == 1
    assert run.summary["loss_best"] == 1.0 / 200
    assert "lrtrack/history.parquet" in run.files


@pytest.mark.parametrize("after", ["run.finish()", "pass"])
def test_a_run_whose_steps_the_user_counts(wandb_server, after: str):
    """His rows keep their numbers, after the block too; ours follow when he is done."""
    code = LOOP.replace("LOG", "run.log({'mine': step}, step=step)")
    code = code.replace("AFTER", f"run.log({{'mine': 300}}, step=180)\n{after}")
    done = script(wandb_server, code)

    assert done.returncode == 0, done.stderr
    ours, mine = rows(wandb_server)
    all_there(ours)
    assert [(row["_step"], row["mine"]) for row in mine] == [
        (9, 9), (59, 59), (109, 109), (159, 159), (180, 300),
    ]  # fmt: skip


def test_a_trainer_that_is_killed(wandb_server, command_line):
    """What was journalled arrives, though nobody is left to attach to."""
    code = LOOP.replace(
        "LOG", "step == 109 and __import__('os').kill(__import__('os').getpid(), 9)"
    )
    script(wandb_server, code.replace("AFTER", ""))
    command_line("sync")

    ours, _ = rows(wandb_server)
    steps = [row["lrtrack/step"] for row in ours]
    assert len(steps) > 20
    assert steps == list(range(len(steps)))
    assert wandb_server.runs(PLACE)[0].state == "failed"
