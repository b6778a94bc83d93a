"""A small W&B server on 127.0.0.1, which the real `wandb` client works against without internet."""

from .server import Loopback, Request

__all__ = ["Loopback", "Request"]
