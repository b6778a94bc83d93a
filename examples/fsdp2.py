"""FSDP2: torchrun --nproc-per-node 2 examples/fsdp2.py; then: lrtrack runs --experiment fsdp2

Parameters and gradients are sharded over the processes; the norms that are recorded are those of
whole gradients, before and after clipping, for one collective a step.
"""

import torch
import torch.distributed as dist
from sklearn.datasets import load_digits
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.nn.functional import cross_entropy
from torch.nn.utils import clip_grad_norm_

import lrtrack

STEPS, BATCH = 100, 32


def main() -> None:
    """Train on handwritten digits, each process on batches of its own."""
    cuda = torch.cuda.is_available()
    dist.init_process_group("nccl" if cuda else "gloo")
    rank, kind = dist.get_rank(), "cuda" if cuda else "cpu"
    device = torch.device(kind, rank) if cuda else torch.device(kind)
    torch.manual_seed(0)
    digits = load_digits()
    inputs = torch.tensor(digits.data / 16, dtype=torch.float32, device=device)
    labels = torch.tensor(digits.target, device=device)
    model = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 10))
    mesh = init_device_mesh(kind, (dist.get_world_size(),))
    for layer in (model[0], model[2], model):
        fully_shard(layer.to(device), mesh=mesh)
    opt = torch.optim.AdamW(model.parameters(), lr=1e-2)
    sched = lrtrack.scheduler(opt, "warmup(steps=10) -> cosine", total_steps=STEPS)

    own = torch.Generator().manual_seed(rank)
    with lrtrack.track(opt, sched, experiment="fsdp2", seed=0):
        for _ in range(STEPS):
            chosen = torch.randint(len(labels), (BATCH,), generator=own).to(device)
            opt.zero_grad()
            cross_entropy(model(inputs[chosen]), labels[chosen]).backward()
            clip_grad_norm_(model.parameters(), max_norm=1.0)
            opt.step()
            sched.step()
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
