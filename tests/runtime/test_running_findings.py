"""What is wrong with the images that run, and what of it appeared since they were let in."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from custody.ports.findings import Word
from custody.ports.inventory import Sighting
from custody.services.runningfindings import Wrong, running_findings
from tests.contents.test_affected import catalog
from tests.contents.test_rematch import NOW, World

NONE = "sha256:" + "9" * 64


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def digest(name: str) -> str:
    return catalog(name).digest


def test_an_image_whose_contents_are_not_kept_is_not_judged(world: World) -> None:
    assert running_findings([NONE], world.store) == [Wrong(digest=NONE, kept=False)]


def test_what_appeared_since_it_was_let_in(world: World) -> None:
    world.keep("a", "1.0.0")
    world.advise("X-1")
    world.refresh()
    world.store.see([Sighting(digest("a"), "admission", "shop/Pod/web", NOW - timedelta(days=1))])
    before, = running_findings([digest("a")], world.store)
    assert (before.kept, sum(before.severities.values()), before.since) == (True, 1, ())
    world.advise("X-2")
    world.refresh()
    after, = running_findings([digest("a")], world.store)
    assert (sum(after.severities.values()), after.since) == (2, ("X-2",))


def test_what_appeared_before_is_not_new(world: World) -> None:
    world.keep("a", "1.0.0")
    world.refresh()
    world.advise("X-1")
    world.refresh()
    world.store.see([Sighting(digest("a"), "admission", "shop/Pod/web", NOW + timedelta(days=1))])
    assert running_findings([digest("a")], world.store)[0].since == ()


def test_the_images_of_an_index_count_for_it(world: World) -> None:
    world.keep("a", "1.0.0")
    world.advise("X-1")
    world.refresh()
    world.store.see([Sighting(digest("a"), "index", NONE, NOW)])
    wrong, = running_findings([NONE], world.store)
    assert (wrong.kept, sum(wrong.severities.values())) == (True, 1)


def test_what_vex_leaves_out_is_counted_apart(world: World) -> None:
    world.keep("a", "1.0.0")
    world.advise("X-1")
    world.refresh()
    numbers = world.store.contents(digest("a"))
    purl = next(numbered.component.package.purl for numbered in world.store.components(numbers)
                if numbered.component.package.name == "left")
    word = Word(status="not_affected", reason="component_not_present")
    world.store.replace({}, [], {}, aside={digest("a"): {(purl, "X-1"): word}})
    wrong, = running_findings([digest("a")], world.store)
    assert (wrong.severities, wrong.left_out) == ({}, 1)
