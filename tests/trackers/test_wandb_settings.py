"""What of W&B's variables and settings files is taken over, refused, or made absolute."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import lrtrack
from lrtrack.errors import UsageError
from lrtrack.records import Target
from lrtrack.trackers.wandb import destination


@pytest.fixture
def optimizer(clean_place: Path, monkeypatch: pytest.MonkeyPatch) -> torch.optim.Optimizer:
    """Something to train, where W&B has a key."""
    monkeypatch.setenv("WANDB_API_KEY", "k" * 40)
    return torch.optim.SGD([torch.nn.Parameter(torch.ones(()))], lr=0.1)


def test_a_mode_that_does_not_exist(optimizer, clean_place: Path, monkeypatch) -> None:
    """A spelling mistake is found at the `with`, before any training, and leaves no journal."""
    monkeypatch.setenv("WANDB_MODE", "onlien")

    with (
        pytest.raises(UsageError, match=r"'onlien'. Did you mean 'online'.*disabled, dryrun, off"),
        lrtrack.track(optimizer, tracker="wandb"),
    ):
        pass
    assert list(clean_place.iterdir()) == []


def test_a_mode_in_a_settings_file(optimizer, clean_place: Path) -> None:
    """The message says that it is the file that has the mistake."""
    (clean_place / "wandb").mkdir()
    (clean_place / "wandb" / "settings").write_text("[default]\nmode = of\n")

    with (
        pytest.raises(UsageError, match="mode in W&B's settings file 'of'"),
        lrtrack.track(optimizer, tracker="wandb"),
    ):
        pass


@pytest.mark.parametrize("mode", ["online", "offline", "shared", "disabled", "dryrun", "run"])
def test_modes_that_exist(optimizer, mode: str, monkeypatch) -> None:
    """All that W&B itself takes are taken."""
    monkeypatch.setenv("WANDB_MODE", mode)

    assert destination.new_target(None, "p").environment["WANDB_MODE"] == mode


def test_relative_paths(clean_place: Path, monkeypatch) -> None:
    """What is recorded means the same wherever it is used."""
    monkeypatch.setenv("WANDB_DIR", "out")
    monkeypatch.setenv("WANDB_CACHE_DIR", "/cache")
    found = destination.environment()

    assert found == {"WANDB_DIR": str(clean_place / "out"), "WANDB_CACHE_DIR": "/cache"}
    assert destination.environment({"WANDB_DIR": "out"}) == {"WANDB_DIR": "out"}


@pytest.mark.parametrize(
    ("service", "joined", "kept"),
    [
        ("3-123-unix-/tmp/socket", True, True),
        ("3-123-tcp-localhost-4567", True, True),
        ("3-123-unix-/tmp/socket", False, False),
        ("3-123-tcp-evil.example-80", True, False),
        ("anything", True, False),
    ],
)
def test_the_service_of_the_user_s_process(service: str, joined: bool, kept: bool) -> None:
    """A run that was joined is attached to through that process's service, on this machine only."""
    target = Target("wandb", joined=joined, environment={"WANDB_SERVICE": service})

    assert destination.recorded_environment(target) == ({"WANDB_SERVICE": service} if kept else {})


def test_variables_out_of_a_journal() -> None:
    """Only what a training would have written counts: no key, no command, nothing but W&B's."""
    found = destination.recorded_environment(
        Target(
            "wandb",
            environment={
                "WANDB_NAME": "mine",
                "WANDB_API_KEY": "k",
                "WANDB_BASE_URL": "http://evil.example",
                "WANDB__EXECUTABLE": "/tmp/evil",
                "WANDB_X_EXECUTABLE": "/tmp/evil",
                "WANDB__PROXIES": "{}",
                "WANDB_NUMBER": 1,  # type: ignore[dict-item]
                "PATH": "/tmp/evil",
            },
        )
    )

    assert found == {"WANDB_NAME": "mine"}
