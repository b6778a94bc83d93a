"""Which variables of the training the processes get that lrtrack starts: those that uploads need.

A process's environment stays readable under `/proc` as long as it runs, and what starts there
inherits it. Uploads need no keys of data sets, model hubs and language models, so they get none.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase

from lrtrack.redaction import holds_secret
from lrtrack.settings import ENV_VARIABLE
from lrtrack.trackers.access import Access

#: Variables that decide how every HTTP client connects, and those of them that hold a path.
CONNECTION_PATHS = (
    "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "NETRC"
)  # fmt: skip
CONNECTION = re.compile("|".join([r"\w+_proxy", *CONNECTION_PATHS]), re.IGNORECASE)
# What Python, its libraries, the C library and the user's account are found by, and how many
# threads and how much memory they take.
_ALWAYS = re.compile(
    r"LRTRACK_\w+|PATH|HOME|USER|LOGNAME|USERNAME|SHELL|PWD|HOSTNAME"
    r"|LANG|LANGUAGE|LC_\w+|TZ|TZDIR|TMPDIR|TEMP|TMP|XDG_\w+|LD_\w+|NIX_LD\w*|GLIBC_TUNABLES"
    r"|PYTHON\w*|MPL\w+|VIRTUAL_ENV|CONDA_(PREFIX|DEFAULT_ENV|EXE|PYTHON_EXE|SHLVL)"
    r"|\w+_NUM_THREADS|(OMP|KMP|MKL|MALLOC|ARROW|PROTOCOL_BUFFERS|SQLALCHEMY|GIT_PYTHON)_\w+"
    r"|OPENSSL_(CONF|MODULES|ENGINES)|GRPC_DEFAULT_SSL_ROOTS_FILE_PATH"
    r"|RES_OPTIONS|LOCALDOMAIN|HOSTALIASES"
)

#: The tracker whose runs stay in the journals.
_LOCAL = "local"


def needed(
    environ: Mapping[str, str], accesses: Mapping[str, Access | None], passed: Iterable[str]
) -> dict[str, str]:
    """Return the variables that a process needs which writes to these trackers.

    Args:
        environ: the variables to choose from.
        accesses: how each tracker is reached, by its name; None: it does not say, and gets every
            variable that is no secret. Variables that begin with a tracker's name, such as `AIM_`
            for `aim`, are always needed.
        passed: further names, with `*` and `?` as in file names.
    """
    patterns = list(passed)
    prefixes = tuple(re.sub(r"\W", "_", name).upper() + "_" for name in accesses)
    known = [access for access in accesses.values() if access is not None]
    # Local runs are not uploaded. Other trackers may have been written before they could say this.
    is_open = any(access is None for name, access in accesses.items() if name != _LOCAL)
    chosen = {
        name: value
        for name, value in environ.items()
        if _ALWAYS.fullmatch(name)
        or CONNECTION.fullmatch(name)
        or name.startswith(prefixes)
        or any(_takes(access, name, value) for access in known)
        or is_passed(name, patterns)
        or (is_open and not holds_secret(name, value))
    }
    return chosen | {ENV_VARIABLE: ",".join(patterns)} if patterns else chosen


def is_passed(name: str, passed: Iterable[str]) -> bool:
    """Return whether the variable is one of those that the user has named, see `needed`."""
    return any(fnmatchcase(name, pattern) for pattern in passed)


def _takes(access: Access, name: str, value: str) -> bool:
    needs = access.needs
    return (
        access.decides(name, value) or access.is_path(name) or (needs is not None and needs(name))
    )
