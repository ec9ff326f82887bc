"""LZW as Go's compress/lzw writes it with LSB-first order and literals of eight bits: codes of 9 to 12 bits, 256 clears
the table, 257 ends. A table that is full is cleared by the encoder and frozen by the decoder.

Pure. A byte costs about a quarter of a microsecond either way, which is why callers compress only what is large.
"""

from __future__ import annotations

from mimir_rw.kv.memberlist.messages import WireError

_CLEAR, _END = 256, 257
_WIDTH_FIRST, _WIDTH_MAX = 9, 12
_CODE_MAX = (1 << _WIDTH_MAX) - 1


def compress(data: bytes) -> bytes:
    out = bytearray()
    bits, held, width = _CLEAR, _WIDTH_FIRST, _WIDTH_FIRST  # the stream opens with a clear
    if not data:
        return _finish(out, bits | _END << held, held + width)
    table: dict[int, int] = {}
    high, overflow = _END, 1 << _WIDTH_FIRST
    code = data[0]
    for byte in data[1:]:
        known = table.get(code << 8 | byte)
        if known is not None:
            code = known
            continue
        bits |= code << held
        held += width
        while held >= 8:
            out.append(bits & 0xFF)
            bits >>= 8
            held -= 8
        pair, code = code << 8 | byte, byte
        high += 1
        if high == overflow:
            width += 1
            overflow <<= 1
        if high == _CODE_MAX:
            bits |= _CLEAR << held
            held += width
            width, overflow, high = _WIDTH_FIRST, 1 << _WIDTH_FIRST, _END
            table.clear()
        else:
            table[pair] = high
    bits |= code << held
    held += width
    high += 1
    if high == overflow:
        width += 1
    if high == _CODE_MAX:
        bits |= _CLEAR << held
        held += width
        width = _WIDTH_FIRST
    return _finish(out, bits | _END << held, held + width)


def _finish(out: bytearray, bits: int, held: int) -> bytes:
    out += bits.to_bytes((held + 7) // 8, "little")
    return bytes(out)


def decompress(data: bytes, *, bytes_max: int) -> bytes:
    """Raises WireError for what no encoder writes, for a missing end, and before more than bytes_max are made."""
    out: list[bytes] = []
    made = 0
    bits = held = 0
    width, high, overflow = _WIDTH_FIRST, _END, 1 << _WIDTH_FIRST
    literals = [bytes((i,)) for i in range(256)] + [b"", b""]
    table = list(literals)
    last = b""
    source = iter(data)
    while True:
        while held < width:
            byte = next(source, None)
            if byte is None:
                raise WireError("compressed data ends early")
            bits |= byte << held
            held += 8
        code = bits & ((1 << width) - 1)
        bits >>= width
        held -= width
        if code == _CLEAR:
            width, high, overflow = _WIDTH_FIRST, _END, 1 << _WIDTH_FIRST
            table, last = list(literals), b""
            continue
        if code == _END:
            return b"".join(out)
        if code < len(table):
            piece = table[code]
        elif code == len(table) and code == high and last:
            piece = last + last[:1]
        else:
            raise WireError("compressed data holds a code that was not made yet")
        made += len(piece)
        if made > bytes_max:
            raise WireError(f"compressed data holds more than {bytes_max} bytes")
        out.append(piece)
        if last and len(table) <= _CODE_MAX:
            table.append(last + piece[:1])
        last = piece
        high += 1
        if high >= overflow:
            if width == _WIDTH_MAX:
                high -= 1
                last = b""
            else:
                width += 1
                overflow <<= 1
