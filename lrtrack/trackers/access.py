"""How a tracker is reached, and as whom."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from lrtrack.records import Target


@dataclass(frozen=True)
class Access:
    """Which parts of a process's environment decide how a tracker is reached, and as whom.

    Nothing here may import the vendor's package: it is called in the training process.

    Attributes:
        decides: whether a variable (name, value) matters: a credential, a certificate, a profile.
            False for what is recorded with each run.
        is_path: whether a variable of that name holds a path, which must not depend on the working
            directory.
        files: given the environment, the files that matter, by the names users know them by.
        sends: whether the variable or file of that name is sent to the server of a target,
            whichever server that is.
        origin: the server that a target names, as `scheme://host:port`; None where nothing is sent
            to a server that the target alone names, as with a file.
        home: given the environment, the origin that these settings themselves name.
        ask_for: what to set so that `home` is the target's origin, as an assignment.
        needs: whether the tracker's client reads the variable of that name, besides those that
            `decides` and `is_path` name. The process that uploads gets no others, except the usual
            ones, such as PATH and HTTPS_PROXY, and those that begin with the tracker's name.
    """

    decides: Callable[[str, str], bool]
    is_path: Callable[[str], bool]
    files: Callable[[Mapping[str, str]], Mapping[str, Path]]
    sends: Callable[[str, Target], bool]
    origin: Callable[[Target], str | None]
    home: Callable[[Mapping[str, str]], str | None]
    ask_for: Callable[[Target], str]
    needs: Callable[[str], bool] | None = None
