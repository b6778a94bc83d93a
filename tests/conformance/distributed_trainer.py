"""Run by torchrun in the tests: one process of small distributed trainings, one after the other.

    python -m torch.distributed.run … distributed_trainer.py SCENARIOS.json

Each process writes its own expected values to `<scenario's folder>/<rank>.json`. The runs go to
`<scenario's folder>/runs`, unless the scenario says otherwise.

Longer than other files, because it is the one program that all processes run.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import sys
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, Partial, Replicate, Shard
from torch.nn.parallel import DistributedDataParallel

import lrtrack

STEPS, ROWS = 6, 16


def data() -> tuple[torch.Tensor, torch.Tensor]:
    """Returns the whole batch, of which each process takes a part."""
    generator = torch.Generator().manual_seed(1)
    inputs = torch.randn(ROWS, 6, generator=generator)
    return inputs, torch.randn(ROWS, 1, generator=generator)


def network() -> torch.nn.Module:
    """A network of odd sizes, so that shards are uneven and one process has none of the last
    bias.
    """
    torch.manual_seed(0)
    return torch.nn.Sequential(
        torch.nn.Linear(6, 5), torch.nn.Tanh(), torch.nn.Linear(5, 3), torch.nn.Linear(3, 1)
    )


def distribute(model: torch.nn.Module, way: str) -> torch.nn.Module:
    """Distributes the model over all processes."""
    if way in ("alone", "accelerate"):
        return model
    if way == "ddp":
        return DistributedDataParallel(model)
    if way == "hsdp":  # copies over one dimension of the mesh, shards over the other
        return fully_shard(model, mesh=init_device_mesh("cpu", (1, 2), mesh_dim_names=("c", "s")))
    return fully_shard(model)


def full(tensor: Any) -> torch.Tensor:
    """Returns the whole of a tensor that may be a DTensor."""
    whole = getattr(tensor, "full_tensor", None)
    return torch.as_tensor(whole() if whole is not None else tensor).detach()


def norm(gradients: list[Any]) -> float:
    """Returns the L2 norm over all elements of whole gradients, in double precision."""
    return float(torch.cat([full(gradient).double().flatten() for gradient in gradients]).norm())


def weights_of(parameters: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    """Returns copies of the whole parameters in double precision."""
    return {name: full(parameter).double().clone() for name, parameter in parameters.items()}


def moves(
    before: Mapping[str, torch.Tensor], after: Mapping[str, torch.Tensor]
) -> dict[str, float]:
    """Returns the norms of the updates and of the weights, and their quotients."""
    changes = {name: after[name] - old for name, old in before.items()}
    parts = {"": (list(changes.values()), list(before.values()))}
    parts |= {f"/{name}": ([changes[name]], [before[name]]) for name in before}
    found = {}
    for part, (updates, weights) in parts.items():
        found[f"update_norm{part}"] = norm(updates)
        found[f"weight_norm{part}"] = norm(weights)
        found[f"update_ratio{part}"] = norm(updates) / norm(weights)
    return found


class Large(torch.nn.Parameter):
    """A parameter for whose copy there is no memory."""

    def clone(self, **_: Any) -> Any:
        """Raises as torch does."""
        raise MemoryError("too large")

    def detach(self) -> Any:
        """Returns the parameter itself, so that copying it fails."""
        return self


class Training:
    """One process of a training; `step` is an ordinary training step."""

    def __init__(
        self, way: str, clip: float | None = None, look: bool = True, moves: bool = False
    ) -> None:
        self.clip, self.look, self.moves = clip, look, moves
        self.model = distribute(network(), way)
        self.inputs, self.targets = data()
        if way != "alone":
            self.share()
        self.parameters = dict(self.model.named_parameters())
        groups = [{"params": list(self.parameters.values())[at::2]} for at in range(2)]
        self.optimizer = torch.optim.AdamW(groups, lr=0.05)
        self.scheduler = torch.optim.lr_scheduler.StepLR(self.optimizer, 2, gamma=0.5)
        self.truth: list[dict[str, float]] = []
        if way == "accelerate":
            from accelerate import Accelerator

            wrapped = Accelerator(cpu=True).prepare(self.model, self.optimizer, self.scheduler)
            self.model, self.optimizer, self.scheduler = wrapped

    def share(self) -> None:
        """Keeps this process's part of the batch."""
        size, rank = dist.get_world_size(), dist.get_rank()
        self.inputs, self.targets = (tensor.chunk(size)[rank] for tensor in data())

    def step(self) -> None:
        """Runs one iteration and returns its expected values."""
        self.optimizer.zero_grad()
        loss = torch.nn.functional.mse_loss(self.model(self.inputs), self.targets)
        loss.backward()
        found = {"loss": loss.item(), "lr": self.optimizer.param_groups[0]["lr"]}
        if self.clip is not None:
            before = torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.clip)
            found["grad_norm_preclip"] = float(full(before))
        if self.look:
            found |= self.norms()
        self.truth.append(found)
        before = weights_of(self.parameters) if self.moves else {}
        self.optimizer.step()
        if self.moves:
            found |= moves(before, weights_of(self.parameters))
        self.scheduler.step()

    def norms(self) -> dict[str, float]:
        """Returns the true gradient norms: over all, of each param group, of each parameter."""
        groups = [g["params"] for g in self.optimizer.param_groups]
        found = {f"grad_norm/{at}": norm([p.grad for p in each]) for at, each in enumerate(groups)}
        found |= {f"grad_norm/{name}": norm([p.grad]) for name, p in self.parameters.items()}
        return found | {"grad_norm": norm([p.grad for p in self.parameters.values()])}


class Handmade:
    """Parameters that are sharded in several ways at once, with gradients that one process
    lacks.

    Args:
        moves: whether the expected values have those of the updates.
        large: the rank on which a parameter cannot be copied.
    """

    def __init__(self, moves: bool = False, large: int | None = None) -> None:
        self.moves = moves
        line, grid = init_device_mesh("cpu", (2,)), init_device_mesh("cpu", (2, 1))
        ways = {
            "plain": None,
            "copied": (line, [Replicate()], [Replicate()]),
            "sharded": (line, [Shard(0)], [Shard(0)]),
            "unfinished": (line, [Replicate()], [Partial()]),
            "grid": (grid, [Shard(1), Replicate()], [Shard(1), Replicate()]),
            "lacking": (line, [Shard(0)], [Shard(0)]),
        }
        self.model = torch.nn.Module()
        self.gradients: dict[str, Any] = {}
        random = torch.Generator().manual_seed(dist.get_rank())
        for name, way in ways.items():
            value, gradient = (torch.randn(3, 4, generator=random) for _ in range(2))
            if way is not None:
                mesh, places, of_gradient = way
                value = DTensor.from_local(value, mesh, places, run_check=False)
                gradient = DTensor.from_local(gradient, mesh, of_gradient, run_check=False)
            if name == "lacking" and dist.get_rank() == 0:
                gradient = DTensor.from_local(torch.zeros(3, 4), line, [Shard(0)], run_check=False)
            kind = Large if name == "plain" and dist.get_rank() == large else torch.nn.Parameter
            self.model.register_parameter(name, kind(value))
            self.gradients[name] = gradient
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.1, foreach=False)
        self.scheduler = None
        self.truth: list[dict[str, float]] = []

    def step(self) -> None:
        """Runs a step with the gradients as they are."""
        found = {f"grad_norm/{name}": norm([each]) for name, each in self.gradients.items()}
        found["grad_norm"] = norm(list(self.gradients.values()))
        losses = [self.model.get_parameter(name).sum() for name in ("sharded", "plain")]
        for loss in losses:  # each process has a part of the first
            loss.backward()
        found["loss"] = sum(float(full(loss)) for loss in losses)
        self.truth.append(found | {"lr": 0.1, "loss_count": 2.0})
        for name, gradient in self.gradients.items():
            lacks = name == "lacking" and dist.get_rank() == 0
            self.model.get_parameter(name).grad = None if lacks else gradient.clone()
        before = weights_of(dict(self.model.named_parameters())) if self.moves else {}
        self.optimizer.step()
        if self.moves:
            self.truth[-1] |= moves(before, weights_of(dict(self.model.named_parameters())))


def collectives(training: Any) -> int:
    """Returns how many collectives an optimizer step starts."""
    from torch.distributed.tensor.debug import CommDebugMode

    with CommDebugMode() as seen:
        training.optimizer.step()
    return int(seen.get_total_counts())


class Scenario:
    """One training as a test needs it.

    Attributes:
        folder: where the expected values go.
        way: how the model is distributed.
        track: options of `track()`.
        only: ranks that use `track()`.
        late: `track()` is entered before the process group is initialized.
        fail: rank and step at which an exception is raised.
        elsewhere: ranks whose runs go to a place of their own; "nowhere": to an unwritable one.
    """

    ids: dict[str, str] = {}  # noqa: RUF012 (one a process, on purpose)

    def __init__(self, folder: str, way: str, **given: Any) -> None:
        self.folder, self.way, self.rank = Path(folder), way, int(os.environ["RANK"])
        self.track = {"tracker": "local", **given.get("track", {})}
        self.only, self.late, self.fail = given.get("only"), given.get("late"), given.get("fail")
        self.given = given
        self.found: dict[str, Any] = {"training": given.get("training", {})}

    def run(self) -> None:
        """Trains, and writes the expected values."""
        os.environ["LRTRACK_DIR"] = str(self.place())
        training = self.training()
        if self.track.get("norms") == "layer":
            self.track["model"] = training.model
        if "resume" in self.given:
            told = [Scenario.ids.get(self.given["resume"])]
            dist.broadcast_object_list(told)
            self.track["resume"] = told[0]
        tracked = self.only is None or self.rank in self.only
        block: Any = contextlib.nullcontext()
        if tracked:
            block = lrtrack.track(training.optimizer, training.scheduler, **self.track)
        with block as run:
            self.loop(training)
            self.found["step"] = run.step if run is not None else None
            if "count" in self.given:
                self.found["collectives"] = collectives(training)
        if run is not None and self.rank == 0:
            Scenario.ids[self.folder.name] = run.id
        weights = [full(p).flatten().tolist() for p in training.model.parameters()]
        self.found |= {"truth": training.truth, "weights": weights}
        (self.folder / f"{self.rank}.json").write_text(json.dumps(self.found))

    def training(self) -> Any:
        """Returns the training before its first step."""
        if self.way == "handmade":
            return Handmade(**self.given.get("training", {}))
        return Training("alone" if self.late else self.way, **self.given.get("training", {}))

    def place(self) -> Path:
        """Sets where this process keeps its runs."""
        other = self.given.get("elsewhere", {}).get(str(self.rank))
        if other == "nowhere":
            return Path("/dev/null/nowhere")
        base = self.folder.parent / self.given["resume"] if "resume" in self.given else self.folder
        return base / (other or "runs")

    def loop(self, training: Any) -> None:
        """The body of the `with` block."""
        if self.late:
            start()
            training.model = DistributedDataParallel(training.model)
            training.share()
        for at in range(self.given.get("steps", STEPS)):
            if self.fail == [self.rank, at]:
                raise RuntimeError("this process has had enough")
            training.step()


def start() -> None:
    """Initializes the process group."""
    dist.init_process_group("gloo", timeout=timedelta(seconds=300))


def main() -> None:
    """Runs the scenarios in the file named on the command line."""
    torch.set_num_threads(1)
    scenarios = [Scenario(**each) for each in json.loads(Path(sys.argv[1]).read_text())]
    if not scenarios[0].late:
        start()
    for scenario in scenarios:
        scenario.run()
    gc.collect()  # models that Gloo still serves can abort the process as it ends
    dist.destroy_process_group()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # torch may abort at shutdown: see EXIT_WITHOUT_SHUTDOWN in tests/fixtures


if __name__ == "__main__":
    main()
