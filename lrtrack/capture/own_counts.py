"""The steps that an optimizer has made by its own count."""

from __future__ import annotations

import torch


def is_counted_here(optimizer: torch.optim.Optimizer, count: int) -> bool:
    """Whether an optimizer has made all its steps in this process, and was not loaded.

    torch numbers the versions of a tensor that is written in place, as Adam's counters are. Those
    of a loaded tensor begin anew.
    """
    try:
        states = [state.get("step") for state in optimizer.state.values()]
        versions = [own._version for own in states if isinstance(own, torch.Tensor)]
    except Exception:  # an optimizer that keeps something else there, or in inference mode
        return False
    return bool(versions) and min(versions) >= count


def optimizer_count(optimizer: torch.optim.Optimizer) -> int | None:
    """The steps that an optimizer has made by its own count; None if it keeps none."""
    try:
        states = [
            s["step"] for s in optimizer.state.values() if isinstance(s, dict) and "step" in s
        ]
        in_groups = [g[key] for g in optimizer.param_groups for key in ("step", "k") if key in g]
        tensors = [n for n in states if isinstance(n, torch.Tensor) and n.numel() == 1]
        numbers = [n for n in (*states, *in_groups) if type(n) in (int, float)]
        for device in {tensor.device for tensor in tensors}:  # one wait per device
            there = [tensor.detach().double().reshape(()) for tensor in tensors
                     if tensor.device == device]  # fmt: skip
            numbers.append(torch.stack(there).max().item())
        return int(max(numbers)) if numbers else None
    except Exception:  # an optimizer that keeps something else under these names
        return None
