"""Who publishes a CSAF document: options that commands share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any

import click

from custody.errors import UsageError
from custody.formats.vex.csafwriter import CATEGORIES, Category, Publisher

NOBODY = "unknown"


@dataclass(frozen=True, slots=True)
class Publishing:
    author: str
    namespace: str | None
    category: Category | None

    def check(self, chosen: str, *, csaf: bool, named: bool = True) -> None:
        """Raises UsageError where a CSAF document has no publisher, and where there is none to name one in.

        `chosen` is what was typed that says so: `--format csaf`; `named`: whether documents that are not CSAF name
        their author too.
        """
        if csaf and (self.author == NOBODY or self.namespace is None):
            raise UsageError(f"{chosen}: a CSAF document names its publisher",
                             hint="--author NAME --publisher-namespace https://…, an address that is the publisher's")
        if not csaf and (self.namespace or self.category):
            raise UsageError(f"--publisher-…: this is for CSAF, and not {chosen}")
        if not (csaf or named) and self.author != NOBODY:
            raise UsageError(f"--author: this is for CSAF, and not {chosen}")

    def publisher(self) -> Publisher:
        return Publisher(name=self.author, namespace=self.namespace or "", category=self.category or "vendor")


def options(said: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """The options, for a command that takes them as `publishing`; `said` is what chooses CSAF there."""
    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        @wraps(function)
        def run(author: str, publisher_namespace: str | None, publisher_category: Category | None, **rest: Any) -> None:
            function(publishing=Publishing(author, publisher_namespace, publisher_category), **rest)

        for option in reversed((
                click.option("--author", default=NOBODY, show_default=True, metavar="NAME", help="Who says so."),
                click.option("--publisher-namespace", metavar="URL",
                             help=f"Of {said}: an address that is only the author's."),
                click.option("--publisher-category", type=click.Choice(CATEGORIES),
                             help=f"Of {said}: what the author is to the product. Default: vendor."))):
            run = option(run)
        return run

    return decorate
