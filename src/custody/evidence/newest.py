"""temporary"""
from __future__ import annotations

from collections.abc import Sequence

from custody.evidence.model import KeylessSigner, Verified


def newest(verified: Sequence[Verified]) -> tuple[list[Verified], list[Verified]]:
    best: dict[object, Verified] = {}
    def who(v: Verified) -> object:
        s = v.signer
        return ((s.subject, s.issuer) if isinstance(s, KeylessSigner) else s.fingerprint, v.predicate_type)
    for v in verified:
        if v.signed_at is not None:
            b = best.get(who(v))
            if b is None or b.signed_at < v.signed_at:  # type: ignore[operator]
                best[who(v)] = v
    speaking = [v for v in verified if v.signed_at is None or v.signed_at == best[who(v)].signed_at]
    return speaking, [v for v in verified if v not in speaking]
