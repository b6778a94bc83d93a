"""What `/proc` and files show of the training's environment."""

from __future__ import annotations

import os
from pathlib import Path

import torch
from fixtures.processes import command_lines, with_variable

import lrtrack

from .test_secrets import kept, leaks

#: Keys of the training's that no upload needs, and those that each tracker's uploads do.
OTHERS = (
    "HF_TOKEN", "OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GITHUB_TOKEN", "SLURM_JWT", "KAGGLE_KEY",
    "COMPANY_PASSWORD", "GOOGLE_API_KEY", "AZURE_OPENAI_API_KEY",
)  # fmt: skip
MLFLOW = {"MLFLOW_TRACKING_TOKEN", "AWS_SECRET_ACCESS_KEY", "AZURE_CLIENT_SECRET", "PGPASSWORD"}
PLUGIN = "PLUGIN_TOKEN"


def started(state: str) -> dict[int, dict[str, str]]:
    """Returns the environments of the processes of a test, by their ids."""
    found = {}
    for number in with_variable("XDG_STATE_HOME", state):
        texts = Path(f"/proc/{number}/environ").read_bytes().decode().split("\0")
        found[number] = dict(text.split("=", 1) for text in texts if "=" in text)
    return found


def test_what_the_started_processes_have(
    store: str, wandb_server, clean_place: Path, monkeypatch, living_shippers, within_seconds
):
    """The shipper has what its trackers need, W&B's writer and service what W&B needs, and none
    has a key of the training's that uploads do not need; no file and no command line has any.
    """
    names = {*OTHERS, *MLFLOW, PLUGIN}
    for name in names:
        monkeypatch.setenv(name, f"secret-of-{name}")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    (clean_place / "pyproject.toml").write_text('[tool.lrtrack]\npass_env = ["PLUGIN_*"]\n')
    secrets = names | {"WANDB_API_KEY"}
    weight = torch.nn.Parameter(torch.ones(()))
    optimizer = torch.optim.SGD([weight], lr=0.5)
    with lrtrack.track(optimizer, tracker="mlflow,wandb", experiment="environments") as run:
        weight.square().backward()
        optimizer.step()
        run.flush()
        shippers = living_shippers()
        environments = started(os.environ["XDG_STATE_HOME"])
        commands = [" ".join(command) for at, command in command_lines() if at in environments]
    within_seconds(60, lambda: living_shippers() == [])
    report = lrtrack.compare("environments", tracker=["mlflow", "wandb"])
    report.save("report.html")
    values = tuple(os.environ[name] for name in secrets)
    files = kept(clean_place.parent) | kept(Path(os.environ["HOME"]))

    of_shippers = [environments.pop(number) for number in shippers]
    assert [each.keys() & secrets for each in of_shippers] == [
        {*MLFLOW, PLUGIN, "WANDB_API_KEY"}
    ] * max(1, len(shippers))  # a very busy machine may start another one
    assert len(environments) >= 2  # the writer, and W&B's own service
    assert [each.keys() & secrets for each in environments.values()] == [
        {PLUGIN, "WANDB_API_KEY"}
    ] * len(environments)
    assert of_shippers[0]["PATH"] == os.environ["PATH"]
    assert {Path(name).suffix for name in files} >= {".journal", ".db", ".html", ".wandb"}
    assert leaks(values, "\n".join(commands), files) == []
