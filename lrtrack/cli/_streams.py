"""The command's standard streams, which may be closed, full or gone when it starts or ends.

Without standard output there is nothing to report to, which is an error in one line. Standard error
and standard input are only convenience: without them, everything else works as before.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

#: The exit status if standard output takes nothing.
FAILED = 1
_HOW = {"stdin": os.O_RDONLY, "stdout": os.O_RDONLY, "stderr": os.O_WRONLY}


@contextmanager
def guarded() -> Iterator[None]:
    """Let the block use streams that do not work.

    Raises:
        SystemExit: standard output did not take everything; one line on stderr says so.
    """
    with _replaced() as output:
        try:
            try:
                yield
            finally:
                output.flush()  # otherwise the interpreter reports a failure when it exits
        except OSError:
            if not output.failures:
                raise
            output.discard()
            number = output.failures[0].errno or 0
            if number != errno.EPIPE:  # a reader such as `head` that has seen enough
                why = "it is closed" if number == errno.EBADF else os.strerror(number)
                click.echo(f"Error: Cannot write to standard output: {why}.", err=True)
            raise SystemExit(FAILED) from None


class _Stream:
    """A standard stream that notes its failures.

    Attributes:
        failures: those of this stream and of its buffer.

    Args:
        stream: where everything is written.
        forgives: whether nobody learns of failures.
        failures: see above.
    """

    def __init__(self, stream: Any, *, forgives: bool, failures: list[OSError]) -> None:
        self._stream = stream
        self._forgives = forgives
        self.failures = failures

    @property
    def buffer(self) -> _Stream:
        """The same stream for bytes."""
        return _Stream(self._stream.buffer, forgives=self._forgives, failures=self.failures)

    def write(self, text: Any) -> int:
        """Write text, or bytes to a stream of bytes."""
        with self._noted():
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Flush the stream, unless the command has closed it."""
        with self._noted(), contextlib.suppress(ValueError):
            self._stream.flush()

    def discard(self) -> None:
        """Drop what is left, which the interpreter would otherwise try to write when it exits."""
        with contextlib.suppress(OSError, ValueError):
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, self._stream.fileno())
            os.close(null)
            self._stream.flush()

    @contextmanager
    def _noted(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self.failures.append(error)
            if not self._forgives:
                raise

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def _replaced() -> Iterator[_Stream]:
    """Replace the streams, and open those that are closed: no other file may take their numbers."""
    before = {name: getattr(sys, name) for name in _HOW}
    for name, stream in before.items():
        if stream is None:
            setattr(sys, name, _opened(_HOW[name], "r" if name == "stdin" else "w"))
    usable = {name: getattr(sys, name) for name in _HOW}
    output = _Stream(sys.stdout, forgives=False, failures=[])
    errors = _Stream(sys.stderr, forgives=True, failures=[])
    vars(sys).update(stdout=output, stderr=errors)  # writers need no more of a stream
    try:
        yield output
    finally:
        sys.stdout, sys.stderr = usable["stdout"], usable["stderr"]
        if errors.failures:
            errors.discard()


def _opened(how: int, mode: str) -> Any:
    """Open the null device at the lowest free number: standard output so that writing fails."""
    number = os.open(os.devnull, how)
    os.set_inheritable(number, True)  # for child processes, too
    return os.fdopen(number, mode, encoding="utf-8", errors="replace", closefd=False)
