"""accelerate on handwritten digits; then: lrtrack runs --experiment with-accelerate"""

import torch
from accelerate import Accelerator
from sklearn.datasets import load_digits
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset

from lrtrack.integrations.accelerate import LRTrack

EPOCHS, BATCH, ACCUMULATE = 5, 32, 2


def main() -> None:
    """An ordinary loop of accelerate's; only `log_with` is lrtrack's."""
    torch.manual_seed(0)
    digits = load_digits()
    inputs, labels = torch.tensor(digits.data / 16).float(), torch.tensor(digits.target)
    loader = DataLoader(TensorDataset(inputs[:1400], labels[:1400]), BATCH, shuffle=True)
    model = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 10))
    opt = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    sched = torch.optim.lr_scheduler.CosineAnnealingLR(opt, EPOCHS * len(loader) // ACCUMULATE)

    accelerator = Accelerator(
        cpu=True, gradient_accumulation_steps=ACCUMULATE, log_with=LRTrack(seed=0)
    )
    model, opt, sched, loader = accelerator.prepare(model, opt, sched, loader)
    accelerator.init_trackers("with-accelerate", config={"batch_size": BATCH * ACCUMULATE})
    for epoch in range(EPOCHS):
        for batch, targets in loader:
            with accelerator.accumulate(model):
                accelerator.backward(cross_entropy(model(batch), targets))
                if accelerator.sync_gradients:
                    accelerator.clip_grad_norm_(model.parameters(), 1.0)
                opt.step()
                sched.step()
                opt.zero_grad()
        with torch.no_grad():
            right = model(inputs[1400:]).argmax(dim=1) == labels[1400:]
        accelerator.log({"val_accuracy": right.float().mean().item()}, step=epoch)
    accelerator.end_training()
    print(f"held-out accuracy: {right.float().mean():.3f}")


if __name__ == "__main__":
    main()
