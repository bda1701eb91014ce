"""The index of Java archives as values of an exported file: projects, then archives, some thousand in one value."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterator
from itertools import islice
from typing import TypeVar

import msgspec

from custody.errors import MalformedError
from custody.ports.javaarchives import Archive, JavaArchiveStore, Project, Replaced

_AT_ONCE = 10_000
_SHA1 = 20
_Row = TypeVar("_Row")


class Projects(msgspec.Struct, array_like=True, frozen=True):
    rows: list[Project]


class Archives(msgspec.Struct, array_like=True, frozen=True):
    rows: list[Archive]


def values(index: JavaArchiveStore) -> Iterator[Projects | Archives]:
    """All of an index; nothing where it has no archive."""
    if not index.count():
        return
    yield from map(Projects, _parts(index.projects()))
    yield from map(Archives, _parts(index.archives()))


def take(stated: Iterator[object], index: JavaArchiveStore, where: str) -> Replaced:
    """Put an index in the place of the one that is there, once all that is stated was read.

    Raises MalformedError for a value that is no part of an index, projects that are not in their order, archives of
    none of them, and for an index without an archive; then, and where reading raises, the one before stays.
    """
    numbers = array("q")
    first: list[Archive] = []

    def projects() -> Iterator[Project]:
        for value in stated:
            if isinstance(value, Archives):
                first.extend(value.rows)
                return
            for project in _rows(value, where):
                if not 0 <= project.number < 1 << 63 or (numbers and project.number <= numbers[-1]):
                    behind = f" behind {numbers[-1]}" if numbers else ""
                    raise MalformedError(where, got=f"Java project {project.number}{behind}",
                                         expected="each once, in their order")
                numbers.append(project.number)
                yield project

    def archives() -> Iterator[Archive]:
        yield from map(checked, first)
        for value in stated:
            if not isinstance(value, Archives):
                raise MalformedError(where, got=f"{type(value).__name__.lower()} behind Java archives",
                                     expected="nothing but Java archives there")
            yield from map(checked, value.rows)

    def checked(archive: Archive) -> Archive:
        place = bisect_left(numbers, archive.project)
        if len(archive.sha1) != _SHA1 or place == len(numbers) or numbers[place] != archive.project:
            raise MalformedError(where, got=f"a Java archive of project {archive.project} with {len(archive.sha1)} "
                                 "bytes of SHA-1", expected=f"{_SHA1} bytes, and a project that comes before")
        return archive

    done = index.replace(projects(), archives())
    if not done.archives:
        raise MalformedError(where, got="Java projects without an archive", expected="an index of Java archives")
    return done


def _rows(value: object, where: str) -> list[Project]:
    if not isinstance(value, Projects):
        raise MalformedError(where, got=f"{type(value).__name__.lower()} behind Java projects",
                             expected="Java archives there")
    return value.rows


def _parts(rows: Iterator[_Row]) -> Iterator[list[_Row]]:
    while part := list(islice(rows, _AT_ONCE)):
        yield part
