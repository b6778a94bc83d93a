"""Finds optimizers inside wrappers, describes them, and names their devices."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch.optim.lr_scheduler import LRScheduler

from lrtrack.capture.cpu import cpu_name

#: Attributes in which wrappers keep the optimizer that they wrap.
INNER = ("optimizer", "base", "opt", "optim", "_optimizer")
#: Attributes in which containers keep their optimizers.
CONTAINERS = ("optimizers", "chained_optimizers")
#: What an engine has, besides the count `global_steps`: it steps its optimizer itself.
_OF_ENGINES = ("step", "get_lr", "get_global_grad_norm")
#: Counters of schedule-free optimizers, kept in their groups among the hyper-parameters.
_SCHEDULE_FREE = {"k", "train_mode", "weight_sum", "lr_max", "scheduled_lr"}


_PASS = (
    "pass the torch optimizer that makes the steps, a wrapper with one in "
    f"{' or '.join(f'.{name}' for name in INNER)}, or several as a list or a mapping of names"
)


class NoOptimizer(torch.optim.Optimizer):
    """Stands for the optimizer of a training that has none: no param groups, no state, no hooks."""

    def __init__(self) -> None:
        # The base class refuses an optimizer without parameters.
        self.param_groups: list[dict[str, Any]] = []
        self.defaults: dict[str, Any] = {}
        self.state: Any = {}


def unwrap(optimizer: Any) -> torch.optim.Optimizer:
    """Return the torch optimizer inside `optimizer`, through any number of wrappers.

    A wrapper may claim to be an optimizer (accelerate's do) without running its constructor, so an
    optimizer is recognized by torch's step hooks.

    Raises:
        TypeError: there is no optimizer inside.
    """
    candidate, depth = optimizer, 0
    if isinstance(optimizer, LRScheduler):
        candidate = None
    while candidate is not None and not has_hooks(candidate) and depth < 10:
        wrapped = (getattr(candidate, name, None) for name in INNER)
        candidate, depth = next((inner for inner in wrapped if inner is not None), None), depth + 1
    if not isinstance(candidate, torch.optim.Optimizer):
        raise TypeError(
            "track() expects a torch.optim.Optimizer as its first argument, got "
            f"{class_of(optimizer)}. Fix: {_instead_of(optimizer)}"
        )
    return candidate


def is_engine(value: Any) -> bool:
    """Whether an object steps its optimizer itself, and tells when it did and with which rates."""
    try:
        methods = all(callable(getattr(type(value), name, None)) for name in _OF_ENGINES)
        return methods and type(value.global_steps) is int
    except Exception:  # attributes may be properties that raise
        return False


def class_of(value: Any) -> str:
    """Return a class's full name, because `Optimizer` alone may be any library's."""
    kind = value if isinstance(value, type) else type(value)
    name = kind.__qualname__
    full = name if kind.__module__ == "builtins" else f"{kind.__module__}.{name}"
    return f"the class {full}" if isinstance(value, type) else full


def _instead_of(value: Any) -> str:
    """Return what to write instead of an object that is no optimizer."""
    if isinstance(value, type):
        return f"create it first: track({value.__name__}(model.parameters(), lr=…), …)."
    if type(value).__module__.partition(".")[0] == "fastai":
        return (
            "have fastai wrap a torch optimizer, Learner(…, opt_func=partial(OptimWrapper, "
            "opt=torch.optim.AdamW)), and pass learn.opt once learn.create_opt() has made it."
        )
    if isinstance(value, torch.Tensor):
        return "pass the optimizer of the parameters instead of the parameters."
    for name in CONTAINERS:
        inner = getattr(value, name, None)
        if isinstance(inner, Mapping | list | tuple):
            values = inner.values() if isinstance(inner, Mapping) else inner
            wrong = [class_of(own) for own in values if not callable(getattr(own, "step", None))]
            what = f"holds {wrong[0]}, which has no step()" if wrong else "is empty"
            return f"its .{name} {what}; pass the optimizers themselves, as a list."
    if isinstance(value, LRScheduler | torch.nn.Module):
        return "pass the optimizer first: track(optimizer, scheduler, model=…)."
    if callable(getattr(value, "step", None)):
        return (
            f"{_PASS}. Where no torch optimizer makes the steps, pass None, and call "
            "run.record(lr=…, loss=…, grad_norm=…) after each step."
        )
    return f"{_PASS}."


def has_hooks(optimizer: Any) -> bool:
    """Whether an object is a torch optimizer that its constructor has made ready for hooks."""
    is_one = isinstance(optimizer, torch.optim.Optimizer)
    return is_one and "_optimizer_step_pre_hooks" in vars(optimizer)


def describe_optimizer(optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """Return the name and the hyper-parameters that group 0 had before the scheduler started."""
    if isinstance(optimizer, NoOptimizer):
        return {}
    described: dict[str, Any] = {"name": type(optimizer).__name__}
    group = optimizer.param_groups[0] if optimizer.param_groups else {}
    noted = _SCHEDULE_FREE if "weight_sum" in optimizer.defaults else set()
    for key, default in optimizer.defaults.items():
        if key in noted:
            continue
        moved = "base_momentum" in group and key in ("momentum", "betas")
        value = _plain(default if moved else group.get(key, default))
        if value is not None:
            described[key] = value
    for name in (*INNER, "base_optimizer"):  # an optimizer inside itself, as in Lookahead
        inner = getattr(optimizer, name, None)
        if isinstance(inner, torch.optim.Optimizer):
            described["optimizer"] = type(inner).__name__
    if "initial_lr" in group:  # set by a scheduler, which has changed `lr` since
        described["lr"] = _plain(group["initial_lr"])
    return described


def describe_together(optimizers: Mapping[str, torch.optim.Optimizer]) -> dict[str, Any]:
    """Describe several optimizers: the hyper-parameters of each after its name and a dot.

    Returns:
        `{"name": "AdamW + Muon", "adamw.name": "AdamW", "adamw.lr": …, "muon.name": …}`, sorted by
        name, as the schedules are.
    """
    described = {name: describe_optimizer(optimizers[name]) for name in sorted(optimizers)}
    joined = " + ".join(str(params["name"]) for params in described.values())
    return {"name": joined} | {
        f"{name}.{key}": value
        for name, params in described.items()
        for key, value in params.items()
    }


def numbered(names: Sequence[str]) -> list[str]:
    """Number names that repeat: `Adam_1`, `Adam_2`."""
    often, used = Counter(names), Counter[str]()
    unique: list[str] = []
    for name in names:
        used[name] += 1
        unique.append(f"{name}_{used[name]}" if often[name] > 1 else name)
    return unique


def device_of(optimizer: torch.optim.Optimizer) -> tuple[str, str]:
    """Return type and name of the device that holds the parameters."""
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            return described_device(parameter.device)
    return described_device(torch.device("cpu"))


def described_device(device: torch.device) -> tuple[str, str]:
    """Return type and name of a device."""
    return device.type, _device_name(device)


def devices() -> list[tuple[str, str]]:
    """Return type and name of every device that torch can use here, the CPU first."""
    usable = [torch.device("cpu")]
    for kind, backend in (("cuda", torch.cuda), ("xpu", torch.xpu)):
        if backend.is_available():
            usable += [torch.device(kind, index) for index in range(backend.device_count())]
    if torch.backends.mps.is_available():
        usable.append(torch.device("mps"))
    return [(device.type, _device_name(device)) for device in usable]


def world_size() -> int:
    """Return the number of processes that train together; 1 if alone or unknown."""
    distributed = torch.distributed
    if distributed.is_available() and distributed.is_initialized():
        return distributed.get_world_size()
    size = os.environ.get("WORLD_SIZE", "1")  # torchrun sets it before the group exists
    return int(size) if size.isdigit() and "RANK" in os.environ else 1


def rank() -> int:
    """Return this process's rank among those that train together; 0 if alone or unknown."""
    distributed = torch.distributed
    if distributed.is_available() and distributed.is_initialized():
        return distributed.get_rank()
    value = os.environ.get("RANK", "0")  # torchrun sets it before the process group exists
    return int(value) if value.isdigit() and os.environ.get("WORLD_SIZE", "1") != "1" else 0


def _plain(value: Any) -> Any:
    """Return a hyper-parameter as a JSON value; None if JSON cannot hold it."""
    if isinstance(value, torch.Tensor):
        return float(value) if value.numel() == 1 else None
    if isinstance(value, tuple | list):
        return [_plain(inner) for inner in value]
    return value if isinstance(value, bool | int | float | str) else None


def _device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    if device.type == "xpu":
        return torch.xpu.get_device_name(device)
    if device.type == "cpu":
        return cpu_name()
    return device.type
