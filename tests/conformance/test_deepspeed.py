"""DeepSpeed's own engine on its CPU accelerator, in one process.

DeepSpeed is no dependency of the tests, because installing it compiles code. Where it is missing,
`engine_cases.py` has an engine with the same public methods.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

#: ZeRO stage, whether in bfloat16, clipping, `backward()` of the loss itself, WarmupLR.
_CASES = [
    (0, False, 0.0, False, False),
    (0, True, 0.05, False, True),
    (1, True, 0.05, False, False),
    (2, False, 0.05, True, True),
    (3, True, 0.0, False, False),
]
_PROGRAM = """
import json, sys, warnings
warnings.simplefilter("ignore")
import deepspeed, torch
import lrtrack

def train(stage, low_precision, clipping, direct, own_scheduler):
    settings = {
        "train_micro_batch_size_per_gpu": 4,
        "gradient_accumulation_steps": 2,
        "gradient_clipping": clipping,
        "steps_per_print": 10**9,
        "zero_allow_untested_optimizer": True,
        "zero_optimization": {"stage": stage},
        "bf16": {"enabled": low_precision},
    }
    if own_scheduler:
        params = {"warmup_min_lr": 0.0, "warmup_max_lr": 0.1, "warmup_num_steps": 3}
        settings["scheduler"] = {"type": "WarmupLR", "params": params}
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1))
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    scheduler = None if own_scheduler else torch.optim.lr_scheduler.StepLR(optimizer, 2)
    engine, *_ = deepspeed.initialize(
        model=model, optimizer=optimizer, lr_scheduler=scheduler, config=settings
    )
    kind = torch.bfloat16 if low_precision else torch.float32
    rates, norms, losses = [], [], []
    name = f"run {len(results)}"
    run = lrtrack.start(engine, tracker="local", name=name)
    for step in range(4):
        rates.append(engine.get_lr()[0])
        losses.append(0.0)
        for _ in range(2):
            loss = (engine(torch.randn(4, 4, dtype=kind)) - 1).square().mean()
            losses[-1] += float(loss.detach()) / 2
            if direct:
                loss.backward()
            else:
                engine.backward(loss)
            engine.step()
        norm = engine.get_global_grad_norm()
        norms.append(None if norm is None else float(norm))
    run.end()
    (history,) = [h for h in lrtrack.histories("lrtrack", tracker="local") if h.run.name == name]
    metrics = {name: values.tolist() for name, values in history.metrics.items()}
    truth = {"lr": rates, "loss": losses, "norm": norms}
    diagnoses = [diagnosis["code"] for diagnosis in history.run.diagnoses]
    return truth, metrics, history.run.schedule.name, history.run.optimizer["name"], diagnoses

results = []
for case in json.loads(sys.argv[1]):
    results.append(train(*case))
print("RESULT", json.dumps(results))
"""


@pytest.mark.skipif(importlib.util.find_spec("deepspeed") is None, reason="needs deepspeed")
def test_deepspeeds_engine(clean_place: Path) -> None:
    """Each step has the engine's rate and norms and the mean loss of its two micro-batches."""
    alone = {"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0", "MASTER_ADDR": "127.0.0.1"}
    process = subprocess.run(
        [sys.executable, "-c", _PROGRAM, json.dumps(_CASES)],
        env={**os.environ, **alone, "MASTER_PORT": "29517", "DS_ACCELERATOR": "cpu"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert process.returncode == 0, process.stderr
    (line,) = [line for line in process.stdout.splitlines() if line.startswith("RESULT")]
    results = json.loads(line.removeprefix("RESULT "))

    for case, (truth, metrics, schedule, optimizer, diagnoses) in zip(_CASES, results, strict=True):
        _, _, clipping, _, own_scheduler = case
        assert truth["lr"] == metrics["lr"]
        assert truth["loss"] == pytest.approx(metrics["loss"])
        assert ("WarmupLR" if own_scheduler else "StepLR") == schedule
        assert (optimizer, diagnoses) == ("AdamW", [])
        if truth["norm"] == [None] * 4:  # stage 0 in full precision
            assert len(metrics["grad_norm"]) == 4
        else:
            norms = metrics["grad_norm_preclip" if clipping else "grad_norm"]
            assert truth["norm"] == pytest.approx(norms)
