"""Makes the fixture `loopback` known to the tests in this folder."""

from .plugin import loopback

__all__ = ["loopback"]
