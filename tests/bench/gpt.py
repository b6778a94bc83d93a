"""A GPT of 124 million parameters on random tokens, for measurements on a GPU; or a tiny one."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional


@dataclass(frozen=True)
class Size:
    """The size of the model and of its batches.

    Attributes:
        layers: transformer blocks.
        heads: attention heads.
        width: size of an embedding.
        vocabulary: number of tokens.
        context: tokens of a sequence.
        batch: sequences of a batch.
    """

    layers: int
    heads: int
    width: int
    vocabulary: int
    context: int
    batch: int


#: The smallest GPT-2, with its vocabulary rounded up to a multiple of 128.
FULL = Size(layers=12, heads=12, width=768, vocabulary=50_304, context=1024, batch=8)
TINY = Size(layers=2, heads=2, width=32, vocabulary=128, context=16, batch=2)


class Attention(nn.Module):
    """Causal self-attention."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.heads = size.heads
        self.queries_keys_values = nn.Linear(size.width, 3 * size.width)
        self.output = nn.Linear(size.width, size.width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Takes and returns batch × context × width."""
        batch, context, width = x.shape
        split = self.queries_keys_values(x).view(batch, context, 3, self.heads, -1)
        queries, keys, values = split.permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(queries, keys, values, is_causal=True)
        return self.output(mixed.transpose(1, 2).reshape(batch, context, width))


class Block(nn.Module):
    """Attention and a network of two layers, each added to its normalized input."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.before_attention, self.before_mlp = nn.LayerNorm(size.width), nn.LayerNorm(size.width)
        self.attention = Attention(size)
        self.mlp = nn.Sequential(
            nn.Linear(size.width, 4 * size.width), nn.GELU(), nn.Linear(4 * size.width, size.width)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Takes and returns batch × context × width."""
        x = x + self.attention(self.before_attention(x))
        return x + self.mlp(self.before_mlp(x))


class GPT(nn.Module):
    """A decoder whose output layer shares the weights of the token embedding."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.tokens = nn.Embedding(size.vocabulary, size.width)
        self.positions = nn.Embedding(size.context, size.width)
        self.blocks = nn.Sequential(*(Block(size) for _ in range(size.layers)))
        self.last = nn.LayerNorm(size.width)
        for embedding in (self.tokens, self.positions):
            nn.init.normal_(embedding.weight, std=0.02)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Returns the mean cross-entropy of each next token.

        Args:
            tokens: batch × (context + 1), integers.
        """
        inputs, targets = tokens[:, :-1], tokens[:, 1:]
        places = torch.arange(inputs.shape[1], device=tokens.device)
        x = self.blocks(self.tokens(inputs) + self.positions(places))
        logits = functional.linear(self.last(x), self.tokens.weight)
        return functional.cross_entropy(logits.flatten(0, 1), targets.flatten())


def parameters(size: Size) -> int:
    """Returns the number of parameters of a model."""
    width = size.width
    block = 12 * width * width + 13 * width
    return (size.vocabulary + size.context) * width + size.layers * block + 2 * width
