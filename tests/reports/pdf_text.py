"""The text of a PDF that matplotlib wrote, as a reader copies it."""

from __future__ import annotations

import re
import zlib

_OBJECT = re.compile(rb"(\d+) 0 obj\n(.*?)\nendobj", re.S)
_STREAM = re.compile(rb"stream\r?\n(.*)\r?\nendstream", re.S)
_TOKEN = re.compile(rb"/(F\d+) [\d.]+ Tf|\(((?:[^()\\]|\\.)*)\)", re.S)
_ESCAPE = re.compile(rb"\\([0-7]{1,3}|.)", re.S)
_LETTERS = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"b": b"\b", b"f": b"\f"}


def texts(pdf: bytes) -> list[str]:
    """Each piece of text, in the order of drawing."""
    objects = {int(number): body for number, body in _OBJECT.findall(pdf)}
    fonts: dict[bytes, dict[int, str]] = {}
    for body in objects.values():
        for name, number in re.findall(rb"/(F\d+) (\d+) 0 R", body):
            table = re.search(rb"/ToUnicode (\d+) 0 R", objects[int(number)])
            fonts[name] = {} if table is None else _unicode(_stream(objects[int(table[1])]))
    pieces = []
    for body in objects.values():
        for block in re.findall(rb"BT\n(.*?)ET\n", _stream(body), re.S):
            pieces.append(_decoded(block, fonts))
    return pieces


def _stream(body: bytes) -> bytes:
    content = _STREAM.search(body)
    if content is None or b"/FlateDecode" not in body or b"/Subtype /Image" in body:
        return b""
    return zlib.decompress(content[1])


def _unicode(table: bytes) -> dict[int, str]:
    characters = {}
    for first, codes in re.findall(rb"<(\w+)> <\w+> \[([^\]]*)\]", table):
        for shift, code in enumerate(re.findall(rb"<(\w+)>", codes)):
            characters[int(first, 16) + shift] = bytes.fromhex(code.decode()).decode("utf-16-be")
    return characters


def _decoded(block: bytes, fonts: dict[bytes, dict[int, str]]) -> str:
    characters: dict[int, str] = {}
    text = ""
    for font, string in _TOKEN.findall(block):
        if font:
            characters = fonts[font]
            continue
        data = _ESCAPE.sub(lambda match: _unescaped(match[1]), string)
        codes = [int.from_bytes(data[at : at + 2]) for at in range(0, len(data), 2)]
        text += "".join(characters[code] for code in codes)
    return text


def _unescaped(escape: bytes) -> bytes:
    return bytes([int(escape, 8)]) if escape.isdigit() else _LETTERS.get(escape, escape)
