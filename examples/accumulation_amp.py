"""Gradient accumulation, mixed precision and clipping; then: lrtrack runs --experiment amp

One record an optimizer step: of its four backward passes the loss is the mean, unscaled, and the
norms are those before and after clipping. A step that the scaler skips leaves no record.
"""

import torch
from sklearn.datasets import load_digits
from torch.nn.functional import cross_entropy
from torch.nn.utils import clip_grad_norm_

import lrtrack

STEPS, ACCUMULATE, BATCH = 200, 4, 16


def main() -> None:
    """Train on handwritten digits, in float16 where there is a GPU, in bfloat16 elsewhere."""
    torch.manual_seed(0)
    device, narrow = (
        ("cuda", torch.float16) if torch.cuda.is_available() else ("cpu", torch.bfloat16)
    )
    digits = load_digits()
    inputs = torch.tensor(digits.data / 16, dtype=torch.float32, device=device)
    labels = torch.tensor(digits.target, device=device)
    model = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 10))
    model.to(device)
    opt = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    sched = torch.optim.lr_scheduler.OneCycleLR(opt, 0.2, total_steps=STEPS)
    scaler = torch.amp.GradScaler(device)

    with lrtrack.track(opt, sched, experiment="amp", seed=0, config={"batch": ACCUMULATE * BATCH}):
        for _ in range(STEPS):
            opt.zero_grad()
            for _ in range(ACCUMULATE):
                chosen = torch.randint(len(labels), (BATCH,), device=device)
                with torch.autocast(device, narrow):
                    loss = cross_entropy(model(inputs[chosen]), labels[chosen])
                scaler.scale(loss / ACCUMULATE).backward()
            scaler.unscale_(opt)
            clip_grad_norm_(model.parameters(), max_norm=1.0)
            scaler.step(opt)
            scaler.update()
            sched.step()


if __name__ == "__main__":
    main()
