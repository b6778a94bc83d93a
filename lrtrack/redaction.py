"""Removes credentials from text that is shown, logged or stored.

Two kinds are recognized. Some look like credentials wherever they come from: logins in URIs, secret
parameters, `Authorization` headers. Others are this process's own: what its variables, its login
file and its trackers' files hold, plain or in base64, since a server or a proxy may repeat in its
error what it was sent.
"""

from __future__ import annotations

import base64
import binascii
import netrc
import os
import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from urllib.parse import quote, unquote

HIDDEN = "***"

# It begins where no letter is before it, so that long text without one is looked through once.
_SCHEME = r"(?<![A-Za-z0-9+.-])[A-Za-z0-9+.-]++://"
# In `scheme://user:password@host`, match up to the last @ of the authority, because a password may
# contain one. After `user:`, match up to the last @ of the text, because a password that was not
# percent-encoded may also contain / ? and #.
_USERINFO = re.compile(
    rf"(?P<scheme>{_SCHEME})(?:[^/\s?#:@]*:\S*|[^/\s?#]*)@",
)
_SECRET_QUERY = re.compile(
    r"(?i)([?&;#][\w.-]*(?:password|passwd|pwd|token|api_?key|secret|signature|sig|credential"
    r"|(?:account|access|private)_?key)[\w.-]*=)[^&\s]+"
)
#: The fragment of a URI, unless it is a page's route.
_FRAGMENT = re.compile(rf"(?P<uri>{_SCHEME}[^\s#\"'<>]*)#(?![/!])(?P<fragment>[^\s\"'<>)]+)")
#: The name of a section on a page of documentation.
_ANCHOR = re.compile(r"[a-z]+(?:[-_.][a-z]+)*")
_PAGE = re.compile(r"[^:]+://[^/]+/.")

_SCHEMES = r"basic|bearer|digest|negotiate|ntlm|token|aws4-hmac-sha256"
_TOKEN = r"[\w+/.~=%-]+"  # noqa: S105 (a pattern)
_HEADER = re.compile(
    r"(?i)((?:authorization|x-(?:[\w-]*-)?(?:api-key|token)|api-key)[\"']?\s*[:=]\s*[\"']?)"
    rf"((?:{_SCHEMES})\s+)?({_TOKEN})"
)
_COOKIE = re.compile(r"(?i)\b((?:set-)?cookie[\"']?\s*[:=]\s*[\"']?)[^\"'\n]+")
_BARE_SCHEME = re.compile(rf"(?i)\b(basic|bearer)(\s+|%20|\+)({_TOKEN})")
_FIELD = re.compile(
    r"(?i)([\"'][\w.-]*(?:password|passwd|token|api_?key|secret|credential)[\"']\s*[:=]\s*[\"'])"
    r"[^\"']+"
)
_ASSIGNED = re.compile(
    r"(?i)(?<![\w?&;#.-])((?:[\w.-]*(?:password|passwd|api_?key|secret(?:_access)?(?:_key)?)"
    r"|[\w.-]*[_-](?:token|pwd))=)[^\s\"'&;,]+"
)
_BASE64 = re.compile(r"[A-Za-z0-9+/_-]{8,}")

#: Names of variables that hold a secret themselves, and those of the user names that go with them.
_SECRET_NAME = re.compile(
    r"(?i)(?:^|_|^PG)(?P<kind>PASSWORD|PASSWD|PASSPHRASE|TOKEN|JWT|API_?KEY|SECRET|SECRET_KEY"
    r"|SECRET_ACCESS_KEY|ACCESS_KEY|ACCOUNT_KEY|PRIVATE_KEY)$|_PWD$"
)
_USER_NAMES = ("USERNAME", "USER", "LOGIN")
_LOGIN = re.compile(rf"{_SCHEME}([^/\s?#:@]*):([^\s]*)@")
#: The least length of a secret that is looked for as it is, and of one that looks like a word or a
#: number.
_SHORTEST, _SHORTEST_WORD = 6, 12

#: What `remember` was given.
_remembered: set[str] = set()


def bare_uri(uri: str) -> str:
    """Returns an address without login, secret parameters and fragment, to be stored or compared.

    It depends on nothing but the address, in contrast to `redact`.
    """
    bare = _SECRET_QUERY.sub(rf"\1{HIDDEN}", _USERINFO.sub(r"\g<scheme>", uri))
    return _FRAGMENT.sub(_without_fragment, bare)


def redact(text: str) -> str:
    """Returns `text` without credentials, for people to read."""
    text = bare_uri(text)
    text = _HEADER.sub(_without_header, text)
    text = _COOKIE.sub(rf"\1{HIDDEN}", text)
    text = _BARE_SCHEME.sub(_without_token, text)
    text = _FIELD.sub(rf"\1{HIDDEN}", text)
    text = _ASSIGNED.sub(rf"\1{HIDDEN}", text)
    secrets = set(_known())
    if not secrets:
        return text
    for form in sorted(_forms(filter(_is_telling, secrets)), key=len, reverse=True):
        text = text.replace(form, HIDDEN)
    pieces = _pieces(secrets)
    return _BASE64.sub(lambda match: _without_base64(match, pieces), text)


def holds_secret(name: str, value: str) -> bool:
    """Returns whether a variable is one that usually holds a secret, or an address with a login."""
    return _SECRET_NAME.search(name) is not None or _LOGIN.search(value) is not None


def remember(secrets: Iterable[str]) -> None:
    """Makes `redact` remove these, too: credentials that a program has read from its files."""
    _remembered.update(filter(None, secrets))


def _without_fragment(match: re.Match[str]) -> str:
    uri, fragment = match["uri"], match["fragment"]
    is_anchor = _ANCHOR.fullmatch(fragment.rstrip(".,;:!?")) and _PAGE.match(uri)
    return match[0] if HIDDEN in fragment or is_anchor else f"{uri}#{HIDDEN}"


def _without_header(match: re.Match[str]) -> str:
    name, scheme, token = match.groups()
    if scheme is None and not _looks_random(token):
        return match[0]
    return f"{name}{scheme or ''}{HIDDEN}"


def _without_token(match: re.Match[str]) -> str:
    scheme, space, token = match.groups()
    if scheme.lower() == "basic":
        secret = any(b":" in part for part in _decoded(unquote(token)))
    else:
        secret = _looks_random(token)
    return f"{scheme}{space}{HIDDEN}" if secret else match[0]


def _looks_random(token: str) -> bool:
    """Whether a word is hardly one of a language."""
    return len(token) >= 24 or (len(token) >= 6 and any(char.isdigit() for char in token))


def _pieces(secrets: Iterable[str]) -> set[bytes]:
    """Returns what is looked for in base64: a message may be cut, or broken into lines, anywhere.

    By chance, no word or path decodes to so many bytes of a secret.
    """
    encoded = [secret.encode(errors="surrogateescape") for secret in secrets]
    return {
        secret[at : at + _SHORTEST]
        for secret in encoded
        for at in range(max(1, len(secret) - _SHORTEST + 1))
    }


def _without_base64(match: re.Match[str], pieces: set[bytes]) -> str:
    parts = list(_decoded(match[0]))
    return HIDDEN if any(piece in part for part in parts for piece in pieces) else match[0]


def _decoded(text: str) -> Iterator[bytes]:
    """Yields what a text may say in base64, wherever in a group of four its first digit is."""
    plain = text.rstrip("=").replace("-", "+").replace("_", "/")
    for missing in range(4):
        part = "A" * missing + plain
        part = part[: len(part) - 1] if len(part) % 4 == 1 else part
        try:
            yield base64.b64decode(part + "=" * (-len(part) % 4), validate=True)
        except (binascii.Error, ValueError):
            continue


def _is_telling(secret: str) -> bool:
    """Whether a secret may be replaced where it stands: `mlflow` would be missed elsewhere."""
    is_word = secret.isdecimal() or (secret.isalpha() and secret.islower())
    return len(secret) >= (_SHORTEST_WORD if is_word else _SHORTEST)


def _forms(secrets: Iterable[str]) -> set[str]:
    """Returns the secrets as they are, and as parts of an address."""
    return {form for secret in secrets for form in (secret, quote(secret, safe=""))}


def _known() -> Iterator[str]:
    """Yields this process's own secrets, and logins as `user:password`."""
    environ = dict(os.environ)
    yield from _remembered
    for name, value in environ.items():
        if "://" in value:
            for user, password in _LOGIN.findall(value):
                yield from _login(unquote(user), unquote(password))
        elif len(value) >= 4 and (kind := _SECRET_NAME.search(name)) and value[0] not in "/~":
            yield value
            stem = name[: len(name) - len(kind["kind"] or "PWD")]
            users = (environ.get(stem + user) for user in _USER_NAMES)
            for user in filter(None, users):
                yield from _login(user, value)
    custom, home = environ.get("NETRC"), environ.get("HOME")
    if custom or home:
        path = Path(custom) if custom else Path(home or "", ".netrc")
        yield from _logins_in(path, _version_of(path))


def _login(user: str, password: str) -> Iterator[str]:
    if password:
        yield f"{user}:{password}"
    if len(password) >= 4:
        yield password


def _version_of(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size


@lru_cache(maxsize=8)
def _logins_in(path: Path, version: tuple[int, int] | None) -> tuple[str, ...]:
    """Returns the secrets of a login file, read again only once it has changed."""
    if version is None:
        return ()
    try:
        hosts = netrc.netrc(path).hosts.values()
    except (OSError, netrc.NetrcParseError, UnicodeDecodeError):
        return ()
    return tuple(text for user, _, password in hosts for text in _login(user, password or ""))
