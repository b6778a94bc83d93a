"""DDP: torchrun --nproc-per-node 2 examples/ddp.py; then: lrtrack runs --experiment ddp

Every process uses `track()`, and rank 0 writes the one run. Gradients are averaged before the
step, so that their norm is that of the whole batch; the loss is rank 0's own.
"""

import torch
import torch.distributed as dist
from sklearn.datasets import load_digits
from torch.nn.functional import cross_entropy
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset

import lrtrack

EPOCHS, BATCH = 4, 32


def main() -> None:
    """Train on handwritten digits, each process on its share of them."""
    cuda = torch.cuda.is_available()
    dist.init_process_group("nccl" if cuda else "gloo")
    device = torch.device("cuda", dist.get_rank()) if cuda else torch.device("cpu")
    torch.manual_seed(0)
    digits = load_digits()
    data = TensorDataset(torch.tensor(digits.data / 16).float(), torch.tensor(digits.target))
    sampler = DistributedSampler(data, seed=0)
    loader = DataLoader(data, batch_size=BATCH, sampler=sampler)
    model = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 10))
    model = DistributedDataParallel(model.to(device), device_ids=[device] if cuda else None)
    opt = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    steps = EPOCHS * len(loader)
    sched = torch.optim.lr_scheduler.OneCycleLR(opt, 0.2, total_steps=steps)

    with lrtrack.track(opt, sched, experiment="ddp", seed=0, config={"epochs": EPOCHS}):
        for epoch in range(EPOCHS):
            sampler.set_epoch(epoch)
            for inputs, labels in loader:
                opt.zero_grad()
                cross_entropy(model(inputs.to(device)), labels.to(device)).backward()
                opt.step()
                sched.step()
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
