"""The settings of a training that Lightning's objects hold, as the run's `config`."""

from __future__ import annotations

import os
from argparse import Namespace
from collections.abc import Iterator, Mapping
from enum import Enum
from typing import Any

import numpy as np
import torch

from lrtrack.redaction import holds_secret, redact

#: How deep hyperparameters and loaders may be nested; what lies deeper is left out.
_DEEPEST = 8
#: Longer text, in characters, is data; to look through it for credentials would take long, too.
_LONGEST = 4096
#: Stands for a hyperparameter that is left out.
_LEFT_OUT = object()


def config(trainer: Any, module: Any) -> dict[str, Any]:
    """What `save_hyperparameters()` has saved, and the sizes of batches.

    Objects that are no settings, such as a model or a function, are left out, and so are values
    whose name says that they are credentials.

    Args:
        trainer: the Trainer.
        module: the LightningModule.

    Returns:
        Text, numbers, and lists and mappings of them. `batch_size` is one number, or a mapping of
        loaders to numbers if they differ.
    """
    values: dict[str, Any] = {}
    for source in (trainer.datamodule, module):
        saved = getattr(source, "hparams", None)
        if isinstance(saved, Mapping):
            values |= _mapping(saved, 1)
    sizes = dict(_batch_sizes(trainer.train_dataloader, "", 1))
    if sizes:
        first, *others = set(sizes.values())
        values["batch_size"] = sizes if others else first
    return {**values, "accumulate_grad_batches": trainer.accumulate_grad_batches}


def _mapping(values: Mapping[Any, Any], depth: int) -> dict[str, Any]:
    kept = {}
    for name, value in values.items():
        text, is_number = str(name), isinstance(value, int | float)
        # LightningCLI notes how it made the object in names that begin so.
        if text.startswith("_") or (holds_secret(text, "") and not is_number):
            continue
        inner = _plain(value, depth + 1)
        if inner is not _LEFT_OUT:
            kept[text] = inner
    return kept


def _plain(value: Any, depth: int) -> Any:
    """A hyperparameter as a run's `config` has it; `_LEFT_OUT` if it is no setting."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, Enum):
        return value.name
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, str | os.PathLike):
        text = os.fsdecode(value)
        return redact(text) if len(text) <= _LONGEST else _LEFT_OUT
    if isinstance(value, torch.dtype | torch.device):
        return str(value)
    if depth > _DEEPEST:
        return _LEFT_OUT
    if isinstance(value, Namespace):
        value = vars(value)
    if isinstance(value, Mapping):
        return _mapping(value, depth)
    if isinstance(value, list | tuple):
        items = [_plain(inner, depth + 1) for inner in value]
        return _LEFT_OUT if _LEFT_OUT in items else items
    return _LEFT_OUT


def _batch_sizes(loaders: Any, name: str, depth: int) -> Iterator[tuple[str, int]]:
    """Yield the size of each loader's batches, with its name among several."""
    inner = getattr(loaders, "iterables", loaders)  # those of a CombinedLoader
    if isinstance(inner, list | tuple):
        inner = dict(enumerate(inner))
    if isinstance(inner, Mapping):
        for key, part in inner.items() if depth <= _DEEPEST else ():
            yield from _batch_sizes(part, f"{name}.{key}" if name else str(key), depth + 1)
        return
    size = getattr(inner, "batch_size", None)
    if size is None:  # a batch sampler decides, perhaps the user's own
        size = getattr(getattr(inner, "batch_sampler", None), "batch_size", None)
    if isinstance(size, int):
        yield name, size
