"""Tokens of an instance on disk, so that it comes back with the same ones: `{"tokens":[1,2,3]}`."""

from __future__ import annotations

import os

import msgspec


class TokenFileDamaged(ValueError):
    """The file is there but holds no tokens."""


class _Document(msgspec.Struct):
    tokens: list[int]


def read_tokens(path: str) -> tuple[int, ...]:
    """Ascending; empty when there is no file. Raises TokenFileDamaged, OSError."""
    try:
        with open(path, "rb") as file:
            data = file.read()
    except FileNotFoundError:
        return ()
    try:
        tokens = msgspec.json.decode(data, type=_Document).tokens
    except msgspec.MsgspecError as error:
        raise TokenFileDamaged(f"{path}: {error}") from error
    if any(not 0 <= token < 1 << 32 for token in tokens):
        raise TokenFileDamaged(f"{path}: a token has more than 32 bits")
    return tuple(sorted(set(tokens)))


def write_tokens(path: str, tokens: tuple[int, ...]) -> None:
    """Replace the file as a whole: whatever happens, there is the old one or the new one. Raises OSError."""
    folder = os.path.dirname(path)
    if folder:
        os.makedirs(folder, exist_ok=True)
    beside = path + ".tmp"
    with open(beside, "wb") as file:
        file.write(msgspec.json.encode(_Document(list(tokens))))
        file.flush()
        os.fsync(file.fileno())
    os.replace(beside, path)
