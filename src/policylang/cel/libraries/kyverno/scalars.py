"""Kyverno's small libraries: hash, math, random, time, user, x509, and the orValue() of older versions."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from math import copysign, floor
from typing import Any, Final

from policylang.cel.cost.units import CONSTANT
from policylang.cel.libraries.kyverno.ports import AnswerError, World
from policylang.cel.library import Function, Library, Overload, function
from policylang.cel.syntax.expander import Expander, Macro
from policylang.cel.syntax.tree import Node
from policylang.cel.types import DOUBLE, DURATION, DYN, INT, STRING, TIMESTAMP, message
from policylang.cel.values.errors import CelError
from policylang.cel.values.values import Duration, Optional, Timestamp

SERVICE_ACCOUNT: Final = message("user.ServiceAccount")
_PREFIX = "system:serviceaccount:"
_YEAR_1 = 62_135_596_800 * 10**9  # nanoseconds from Go's zero time to 1970


def _hashes(name: str) -> tuple[Function, Function]:
    def digest(text: str) -> str:
        return hashlib.new(name, text.encode(), usedforsecurity=False).hexdigest()

    return (function(name, Overload(f"{name}_string_non_prefixed", (STRING,), STRING, digest, CONSTANT)),
            function(f"hash.{name}", Overload(f"{name}_string_prefixed", (STRING,), STRING, digest, CONSTANT)))


HASH = Library("kyverno.hash", functions=tuple(
    hashing for name in ("sha1", "sha256", "md5") for hashing in _hashes(name)))


def _round(value: float, places: int) -> float:
    """Halves away from zero."""
    try:
        shift = 10.0 ** places
        scaled = value * shift
        if scaled != scaled or abs(scaled) >= 2.0 ** 52:
            return scaled / shift
        whole = floor(abs(scaled))
        whole += abs(scaled) - whole >= 0.5
        return copysign(whole, scaled) / shift
    except (OverflowError, ZeroDivisionError):
        return float("nan")


MATH = Library("kyverno.math", functions=(
    function("math.round", Overload("math_round_float_int", (DOUBLE, INT), DOUBLE, _round, CONSTANT)),
))


def random(world: World) -> Library:
    def text(pattern: str = "[0-9a-z]{8}") -> str:
        try:
            return str(world.need("random", "random()").text(pattern))
        except AnswerError as no:
            raise CelError(str(no)) from None

    return Library("kyverno.random", functions=(
        function("random", Overload("random_string", (STRING,), STRING, text, CONSTANT),
                 Overload("random_string_default_expr", (), STRING, text, CONSTANT)),
    ))


def time(world: World) -> Library:
    return Library("kyverno.time", functions=(
        function("time.now", Overload("time_now", (), TIMESTAMP,
                                      lambda: Timestamp(world.need("clock", "time.now()").now()), CONSTANT)),
        function("time.toCron", Overload("time_to_cron", (TIMESTAMP,), STRING, _cron, CONSTANT)),
        function("time.truncate", Overload("time_truncate", (TIMESTAMP, DURATION), TIMESTAMP, _truncate, CONSTANT)),
    ))


def _cron(at: Timestamp) -> str:
    """Minute, hour, day, month and day of the week (0 is Sunday) in UTC."""
    when = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=at.ns // 10**9)
    return f"{when.minute} {when.hour} {when.day} {when.month} {when.isoweekday() % 7}"


def _truncate(at: Timestamp, to: Duration) -> Timestamp:
    """Down to a multiple of `to` since the year 1."""
    return at if to.ns <= 0 else Timestamp(at.ns - (at.ns + _YEAR_1) % to.ns)


def _service_account(user: str) -> dict[str, Any]:
    namespace, colon, name = user.removeprefix(_PREFIX).partition(":")
    if not user.startswith(_PREFIX) or not colon:
        return {"Namespace": "", "Name": ""}
    return {"Namespace": namespace, "Name": name}


USER = Library("kyverno.user", functions=(
    function("parseServiceAccount", Overload("parse_service_account_string", (STRING,), SERVICE_ACCOUNT,
                                             _service_account, CONSTANT)),
))


# ── orValue ─────────────────────────────────────────────────────────────────────────────────────────────────────────

def _or_value(value: Any, otherwise: Any) -> Any:
    if type(value) is Optional:
        return value.value if value.present else otherwise
    return value


def _call_instead(build: Expander, target: Node | None, args: list[Node]) -> Node | None:
    return None if target is None else build.call("__orValueCompat__", target, args[0])


OR_VALUE = Library("kyverno.orvalue", macros=(Macro("orValue", 1, True, _call_instead),), functions=(
    function("__orValueCompat__", Overload("__orValueCompat___dyn_dyn", (DYN, DYN), DYN, _or_value, CONSTANT)),
))


def _decode_x509(text: str) -> Any:
    from policylang.go.x509 import CertificateError, decode_pem  # cryptography is slow to import

    try:
        return decode_pem(text)
    except CertificateError as wrong:
        raise CelError(str(wrong)) from None


X509 = Library("kyverno.x509", functions=(
    function("x509.decode", Overload("x509_decode_string", (STRING,), DYN, _decode_x509, CONSTANT)),
))
