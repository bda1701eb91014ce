"""kubernetes.Semver: `semver("1.2.3")`, in version 1 also `semver("v1.2", true)`."""

from __future__ import annotations

from typing import ClassVar

from policylang.cel.cost.units import CONSTANT
from policylang.cel.libraries.kubernetes.prices import READ
from policylang.cel.library import Library, Overload, function
from policylang.cel.types import BOOL, INT, STRING, Type, message
from policylang.cel.values.errors import CelError, without_error
from policylang.go.semver import Version, VersionError, compare, normalized, parse

SEMVER = message("kubernetes.Semver")


class Semver:
    """Equal and ordered without regard to build metadata."""

    __slots__ = ("version",)
    cel_type: ClassVar[Type] = SEMVER

    def __init__(self, version: Version) -> None:
        self.version = version

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Semver):
            raise CelError("no such overload")
        return self.version.rank == other.version.rank

    def __hash__(self) -> int:
        return hash(self.version.rank)

    def __str__(self) -> str:
        return str(self.version)

    __repr__ = __str__


def _semver(text: str, normalize: bool = False) -> Semver:
    try:
        return Semver(normalized(text) if normalize else parse(text))
    except VersionError as wrong:
        raise CelError(wrong.message) from None


def _order(left: Semver, right: Semver) -> int:
    return compare(left.version, right.version)


def library(version: int) -> Library:
    """`version` 0 as Kubernetes had it in pre-releases, 1 since 1.33."""
    two = (SEMVER, SEMVER)
    make = [Overload("string_to_semver", (STRING,), SEMVER, _semver, READ)]
    test = [Overload("is_semver_string", (STRING,), BOOL, without_error(_semver), READ)]
    if version:
        make.append(Overload("string_bool_to_semver", (STRING, BOOL), SEMVER, _semver, READ))
        test.append(Overload("is_semver_string_bool", (STRING, BOOL), BOOL, without_error(_semver), READ))
    return Library("kubernetes.Semver", version, types=(SEMVER,), functions=(
        function("semver", *make),
        function("isSemver", *test),
        function("isGreaterThan", Overload("semver_is_greater_than", two, BOOL,
                                           lambda left, right: _order(left, right) > 0, CONSTANT, member=True)),
        function("isLessThan", Overload("semver_is_less_than", two, BOOL,
                                        lambda left, right: _order(left, right) < 0, CONSTANT, member=True)),
        function("compareTo", Overload("semver_compare_to", two, INT, _order, CONSTANT, member=True)),
        function("major", Overload("semver_major", (SEMVER,), INT, lambda of: of.version.major, CONSTANT, member=True)),
        function("minor", Overload("semver_minor", (SEMVER,), INT, lambda of: of.version.minor, CONSTANT, member=True)),
        function("patch", Overload("semver_patch", (SEMVER,), INT, lambda of: of.version.patch, CONSTANT, member=True)),
    ))
