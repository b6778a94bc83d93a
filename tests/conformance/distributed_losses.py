"""One of two processes that train with `loss_over="mean"`: `distributed_losses.py FOLDER`.

Each process writes its own losses to `FOLDER/<rank>.json` and its runs to `FOLDER/<rank>/runs`. The
training is different in each process, so that a loss of one of them is never the mean.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

import lrtrack
from lrtrack.tracking import gathered_losses

STEPS = 6


class Training:
    """A training of one process.

    Attributes:
        losses: the loss of each step.
    """

    def __init__(self, shared: bool = True, micro_batches: int = 1) -> None:
        torch.manual_seed(0)
        model = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.Tanh(), torch.nn.Linear(3, 1))
        self.layers = model
        self.model = DistributedDataParallel(model) if shared else model
        self.optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        self.generator = torch.Generator().manual_seed(dist.get_rank())
        self.micro_batches = micro_batches
        self.losses: list[float] = []

    def backward(self) -> None:
        """Computes the gradients of a step on rows that only this process has."""
        total = 0.0
        for _ in range(self.micro_batches):
            rows = torch.randn(3 + 2 * dist.get_rank(), 4, generator=self.generator)
            loss = self.model(rows).square().mean() / self.micro_batches
            loss.backward()
            total += loss.item()
        self.losses.append(total)

    def step(self) -> None:
        """Makes a step."""
        self.optimizer.zero_grad()
        self.backward()
        self.optimizer.step()

    def weights(self) -> list[float]:
        """All weights."""
        return torch.cat([p.detach().flatten() for p in self.layers.parameters()]).tolist()


def collectives() -> int:
    """How many collectives the default process group has started."""
    group: Any = dist.distributed_c10d._get_default_group()
    return int(group._get_sequence_number_for_group())


class Scenarios:
    """The trainings, one after the other."""

    def __init__(self, folder: Path) -> None:
        self.rank = dist.get_rank()
        os.environ["LRTRACK_DIR"] = str(folder / str(self.rank) / "runs")
        self.found: dict[str, Any] = {}

    def track(self, name: str, optimizer: Any, **options: Any) -> Any:
        """A block that records the mean loss."""
        given = {"tracker": "local", "name": name, "loss_over": "mean", **options}
        return lrtrack.track(optimizer, **given)

    def shared(self, name: str, micro_batches: int = 1, **options: Any) -> Any:
        """A training whose gradients are averaged, without lrtrack if its name is `bare`."""
        training = Training(micro_batches=micro_batches)
        before = collectives()
        block = contextlib.nullcontext()
        if name != "bare":
            block = self.track(name, training.optimizer, **options)
        with block as run:
            for _ in range(STEPS):
                training.step()
        self.found[name] = {
            "losses": training.losses,
            "weights": training.weights(),
            "collectives": collectives() - before,
        }
        return run

    def resumed(self) -> None:
        """Goes on in a run of five steps, of which only rank 0 has the journal."""
        first = Training()
        with self.track("first", first.optimizer, every=2) as run:
            for _ in range(5):
                first.step()
        ids = [run.id]
        dist.broadcast_object_list(ids)
        second = Training()
        with self.track("first", second.optimizer, every=2, resume=ids[0]):
            for _ in range(5):
                second.step()
        self.found["first"] = {"losses": first.losses + second.losses}

    def rounds(self) -> None:
        """Two optimizers with a loss each; rank 0 saves a checkpoint in the middle of a round, for
        which rank 1 waits.
        """
        one, two = Training(shared=False), Training(shared=False)
        optimizers = {"one": one.optimizer, "two": two.optimizer}
        with self.track("rounds", optimizers, prefix="p/") as run:
            for at in range(STEPS):
                one.step()
                if at == 3:
                    if self.rank == 0:
                        run.state_dict()
                    dist.barrier()
                two.step()
        self.found["rounds"] = {"one": one.losses, "two": two.losses}

    def logged(self) -> None:
        """Rank 0 gives the loss of a step itself, and looks at the run while it goes on."""
        training = Training()
        with self.track("logged", training.optimizer) as run:
            for at in range(STEPS):
                training.step()
                if at == 2 and self.rank == 0:
                    run.log(loss=-1.0)
            self.found["logged"] = {"losses": training.losses, "summary": run.summary()}

    def parted(self, name: str, steps: int, only: int | None = None, kill: bool = False) -> None:
        """Each process trains for itself, rank 1 for some of the steps.

        Args:
            name: the name of the run.
            steps: of rank 1.
            only: the rank that uses lrtrack; None: both.
            kill: whether rank 1 is then killed inside its block.
        """
        training = Training(shared=False)
        own = steps if self.rank else STEPS
        block: Any = contextlib.nullcontext()
        if only in (None, self.rank):
            block = self.track(name, training.optimizer)
        with block:
            for _ in range(own):
                training.step()
                time.sleep(0.02)
            if kill:
                self.part(training)
        self.found[name] = {"losses": training.losses}

    def part(self, training: Training) -> None:
        """Has rank 1 killed once its losses are on their way; rank 0 waits until that is done."""
        if self.rank:
            path = Path(os.environ["LRTRACK_DIR"]).parent.parent / "killed.json"
            path.write_text(json.dumps(training.losses))
            os.kill(os.getpid(), signal.SIGKILL)
        with contextlib.suppress(RuntimeError):
            dist.barrier()  # never reached by rank 1


def main() -> None:
    """Trains."""
    torch.set_num_threads(1)
    folder = Path(sys.argv[1])
    dist.init_process_group("gloo")
    dist.barrier()
    scenarios = Scenarios(folder)
    scenarios.shared("bare")
    scenarios.shared("mean")
    scenarios.shared("every layer", norms="layer", model=torch.nn.Linear(1, 1))
    scenarios.shared("accumulated", micro_batches=2)
    scenarios.resumed()
    scenarios.rounds()
    scenarios.logged()
    scenarios.parted("early", 3)
    usual, short = gathered_losses.PATIENCE_AT_END, 0.3
    gathered_losses.PATIENCE_AT_END = short
    scenarios.parted("alone", 3, only=0)
    dist.barrier()
    gathered_losses.PATIENCE_AT_END = usual
    scenarios.parted("together again", STEPS)
    gathered_losses.PATIENCE_AT_END = short
    (folder / f"{scenarios.rank}.json").write_text(json.dumps(scenarios.found))
    scenarios.parted("killed", 3, kill=True)
    (folder / f"{scenarios.rank}.json").write_text(json.dumps(scenarios.found))
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # torch may abort at shutdown: see EXIT_WITHOUT_SHUTDOWN in tests/fixtures


if __name__ == "__main__":
    main()
