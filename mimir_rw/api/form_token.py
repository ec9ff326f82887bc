"""Proof that a form was sent from a page of ours: a browser led here from elsewhere cannot have it."""

from __future__ import annotations

import hashlib
import hmac

from mimir_rw.kit.clock import Clock

FIELD = "csrf_token"
LIFE_S = 600


class FormTokens:
    """Tokens are good for one purpose, for ten minutes, in the process that gave them."""

    def __init__(self, *, secret: bytes, clock: Clock) -> None:
        self._secret = secret
        self._clock = clock

    def issue(self, purpose: str) -> str:
        expires_s = self._now_s() + LIFE_S
        return f"{expires_s}.{self._signature(purpose, expires_s)}"

    def valid(self, purpose: str, token: str) -> bool:
        expires, _, signature = token.partition(".")
        if not (expires.isascii() and expires.isdigit() and len(expires) <= 12 and signature.isascii()):
            return False
        known = self._signature(purpose, int(expires))
        return hmac.compare_digest(known, signature) and self._now_s() <= int(expires)

    def _signature(self, purpose: str, expires_s: int) -> str:
        return hmac.new(self._secret, f"{expires_s}\0{purpose}".encode(), hashlib.sha256).hexdigest()

    def _now_s(self) -> int:
        return self._clock.now_ms() // 1000
