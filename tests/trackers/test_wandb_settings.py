"""Which of W&B's variables and settings are used, refused, or made absolute."""

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
    """An optimizer, with an API key for W&B set."""
    monkeypatch.setenv("WANDB_API_KEY", "k" * 40)
    return torch.optim.SGD([torch.nn.Parameter(torch.ones(()))], lr=0.1)


def test_a_mode_that_does_not_exist(optimizer, clean_place: Path, monkeypatch) -> None:
    """An invalid W&B mode is an error before the training, and leaves no journal."""
    monkeypatch.setenv("WANDB_MODE", "onlien")

    with (
        pytest.raises(UsageError, match=r"'onlien'. Did you mean 'online'.*disabled, dryrun, off"),
        lrtrack.track(optimizer, tracker="wandb"),
    ):
        pass
    assert list(clean_place.iterdir()) == []


def test_a_mode_in_a_settings_file(optimizer, clean_place: Path) -> None:
    """The error for an invalid mode in a settings file says that the file has it."""
    (clean_place / "wandb").mkdir()
    (clean_place / "wandb" / "settings").write_text("[default]\nmode = of\n")

    with (
        pytest.raises(UsageError, match="mode in W&B's settings file 'of'"),
        lrtrack.track(optimizer, tracker="wandb"),
    ):
        pass


@pytest.mark.parametrize("mode", ["online", "offline", "shared", "disabled", "dryrun", "run"])
def test_modes_that_exist(optimizer, mode: str, monkeypatch) -> None:
    """Every mode that W&B accepts is accepted."""
    monkeypatch.setenv("WANDB_MODE", mode)

    assert destination.new_target(None, "p").environment["WANDB_MODE"] == mode


def test_relative_paths(clean_place: Path, monkeypatch) -> None:
    """Relative paths are recorded as absolute ones."""
    monkeypatch.setenv("WANDB_DIR", "out")
    monkeypatch.setenv("WANDB_CACHE_DIR", "/cache")
    variables = destination.environment()

    assert variables == {"WANDB_DIR": str(clean_place / "out"), "WANDB_CACHE_DIR": "/cache"}
    assert destination.environment({"WANDB_DIR": "out"}) == {"WANDB_DIR": "out"}


@pytest.mark.parametrize(
    ("service", "joined", "accepted"),
    [
        ("3-123-unix-/tmp/socket", True, True),
        ("3-123-tcp-localhost-4567", True, True),
        ("3-123-unix-/tmp/socket", False, False),
        ("3-123-tcp-evil.example-80", True, False),
        ("anything", True, False),
    ],
)
def test_the_service_of_the_users_process(service: str, joined: bool, accepted: bool) -> None:
    """A joined run is attached to through its process's service, and only on this machine."""
    target = Target("wandb", joined=joined, environment={"WANDB_SERVICE": service})

    assert destination.recorded_environment(target) == (
        {"WANDB_SERVICE": service} if accepted else {}
    )


def test_variables_from_a_journal() -> None:
    """Of the variables in a journal, only harmless ones of W&B are used."""
    variables = destination.recorded_environment(
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

    assert variables == {"WANDB_NAME": "mine"}
