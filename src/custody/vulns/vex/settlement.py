"""Statements of many times made such as one time can say: for formats whose documents have one (CSAF).

Of two on one vulnerability and one product the newer stays; where their status differs and their times do not say which
one is newer, they are refused. So are two that differ, and whose products are not the same but may be met by one
package: which of them counts, their times said, and those would be gone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations

import msgspec

from custody.errors import UnsupportedError
from custody.formats.purl import PackageUrl
from custody.formats.vex.statement import Product, Statement
from custody.kit.clock import parse_rfc3339
from custody.vulns.vex.product import parsed, same_version

_MAX_PAIRS = 1_000_000


def settled(statements: Sequence[Statement]) -> tuple[list[Statement], int]:
    """Statements in their order, from old to new, each of one product; and how many words a newer one took back.

    Raises UnsupportedError where two that stay may be about one package and do not say the same, and where nobody says
    which of two is the newer one.
    """
    newest: dict[tuple[frozenset[str], Product], Statement] = {}
    spoken: dict[tuple[frozenset[str], Product], list[Statement]] = {}
    count = 0
    for statement in statements:
        for product in _single(statement):
            count += 1
            key = frozenset((statement.vulnerability, *statement.aliases)), product
            newest.pop(key, None)
            newest[key] = msgspec.structs.replace(statement, products=(product,))
            spoken.setdefault(key, []).append(statement)
    for key, last in newest.items():
        _undecided(last, spoken[key])
    kept = list(newest.values())
    _disagreements(kept)
    return kept, count - len(kept)


def _undecided(last: Statement, spoken: Sequence[Statement]) -> None:
    """Raises UnsupportedError where one of those on its product says another thing and is not known to be older. One
    without a time is older than those with one, as in a scan.
    """
    moment = parse_rfc3339(last.time) if last.time else None
    for statement in spoken:
        if statement.status != last.status and (
                moment is None or (statement.time and parse_rfc3339(statement.time) >= moment)):
            times = [entry.time or "no time" for entry in (statement, last)]
            raise UnsupportedError(
                last.vulnerability, f"is {statement.status} ({times[0]}) and {last.status} ({times[1]}) in "
                f"{_shown(last)}, and which of them is newer, their times do not say",
                hint="give them times, or leave out the one that does not count")


def _single(statement: Statement) -> Iterator[Product]:
    for product in statement.products:
        for component in product.components:
            yield Product(names=product.names, components=(component,))
        if not product.components:
            yield product


def _disagreements(statements: list[Statement]) -> None:
    by_name: dict[str, list[Statement]] = {}
    for statement in statements:
        for name in {statement.vulnerability, *statement.aliases}:
            by_name.setdefault(name, []).append(statement)
    pairs = 0
    for name, listed in by_name.items():
        if len({(statement.status, statement.justification, statement.impact, statement.action)
                for statement in listed}) < 2:
            continue
        for first, second in combinations(listed, 2):
            pairs += 1
            if pairs > _MAX_PAIRS:
                raise UnsupportedError(name, f"has more than {_MAX_PAIRS} pairs of statements to compare",
                                       hint="write fewer into one document")
            if first.status != second.status and _overlap(first.products[0], second.products[0]):
                raise UnsupportedError(
                    name, f"is {first.status} in {_shown(first)} and {second.status} in {_shown(second)}, which one "
                          "package may be, and a CSAF document has one time", hint="write them into two documents")


def _shown(statement: Statement) -> str:
    product = statement.products[0]
    return " in ".join([*(component[0] for component in product.components), product.names[0]])


def _overlap(first: Product, second: Product) -> bool:
    """Whether one package of one image may be meant by both; yes, where that is not known."""
    inner = [product.components[0] if product.components else product.names for product in (first, second)]
    if _apart(*inner):
        return False
    if first.components and second.components:
        return not _apart(first.names, second.names)
    return True


def _apart(first: tuple[str, ...], second: tuple[str, ...]) -> bool:
    """Whether names are of two things: of packages that differ in name or version, of images of two digests."""
    digests = [{text for name in names for text in (name, name.rpartition("@")[2].partition("?")[0].replace("%3A", ":"))
                if text.startswith("sha256:")} for names in (first, second)]
    if all(digests):
        return not digests[0] & digests[1]
    urls = [[parsed(name) for name in names if name.startswith("pkg:")] for names in (first, second)]
    if not (urls[0] and urls[1]):
        return False
    return all(left is not None and right is not None and _differ(left, right) for left in urls[0] for right in urls[1])


def _differ(first: PackageUrl, second: PackageUrl) -> bool:
    if {first.type, second.type} & {"oci", "docker"}:
        return False  # an image and a package of it
    if (first.type, first.namespace, first.name) != (second.type, second.namespace, second.name):
        return True
    return bool(first.version and second.version) and not same_version(first, second)
