"""What `ports.findings` promises, of SQLite's adapter and of PostgreSQL's on a real server."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from custody.ports.findings import Event, KeptFinding, Word
from tests.ports.conftest import Make
from tests.ports.test_inventory import BASE, SHOP, image, npm

NOW = datetime(2026, 11, 29, tzinfo=UTC)
ONE = KeptFinding(vulnerability="CVE-2026-0001", record="GHSA-1", severity="high", matched="introduced 0",
                  fixed=("2.0.0",), exploited=True)
TWO = KeptFinding(vulnerability="X-2", record="X-2", severity="unknown", matched="no version", decided=False)


def event(finding: KeptFinding = ONE, at: datetime = NOW) -> Event:
    return Event(change="appeared", cause="advisory", at=at, purl="pkg:npm/left@1.0.0", finding=finding,
                 images=(SHOP.digest,), affected=1)


def test_findings_replace_those_before(make: Make) -> None:
    store = make()
    store.keep(SHOP, NOW)
    left, right = store.contents(SHOP.digest)
    store.replace({left: (TWO, ONE), right: (ONE,)}, (), {})
    assert make().findings([left, right, 99]) == {left: [ONE, TWO], right: [ONE]}
    assert store.having("CVE-2026-0001") == [left, right]
    store.replace({left: ()}, (), {})
    assert store.findings([left, right]) == {right: [ONE]}
    assert store.having("X-2") == []


def test_findings_go_with_their_component(make: Make) -> None:
    store = make()
    store.keep(SHOP, NOW)
    left, right = store.contents(SHOP.digest)
    store.replace({left: (ONE,), right: (ONE,)}, (), {})
    store.keep(image("plant", npm("left", "1.0.0", BASE)), NOW)
    store.forget(SHOP.digest)
    assert store.having("CVE-2026-0001") == [left]
    store.replace({left: (ONE,), right: (TWO,)}, (event(),), {"a": "1"})  # whoever judged it did not know
    assert store.findings([left, right]) == {left: [ONE]}
    assert len(store.events(0, 9)) == 1


def test_events_and_cursors_come_with_findings(make: Make) -> None:
    store = make()
    assert (store.cursor("a"), store.events(0, 9)) == ("", [])
    store.replace({}, (event(), event(TWO)), {"a": "1", "b": "x"})
    store.replace({}, (event(),), {"a": "2"})
    assert (store.cursor("a"), store.cursor("b")) == ("2", "x")
    numbered = store.events(0, 2)
    assert [row.event.finding for row in numbered] == [ONE, TWO]
    assert [row.event for row in store.events(numbered[-1].number, 9)] == [event()]


def test_old_events_go_and_numbers_are_not_used_again(make: Make) -> None:
    store = make()
    store.replace({}, (event(), event(at=NOW + timedelta(days=1))), {})
    last = store.events(0, 9)[-1].number
    assert store.prune(NOW + timedelta(days=2)) == 2
    store.replace({}, (event(),), {})
    assert store.events(last, 9)[0].number > last


def test_images_and_their_components_in_the_order_in_which_they_came(make: Make) -> None:
    store = make()
    store.keep(SHOP, NOW)
    store.keep(image("plant", npm("left", "1.0.0", BASE)), NOW)
    (first, shop), (second, _) = store.images(0, 9)
    assert (shop, first < second, store.images(first, 9)[0][0]) == (SHOP.digest, True, second)
    assert [row.component.package.name for row in store.components(store.contents(shop))] == ["left", "right"]
    store.keep(image("shop", npm("other", "1.0.0", BASE)), NOW)
    assert [row.component.package.name for row in store.components(store.contents(SHOP.digest))] == ["other"]
    assert store.images(second, 9)[0][1] == SHOP.digest


def test_what_does_not_count_is_kept_by_image_and_goes_with_it(make: Make) -> None:
    store = make()
    store.keep(SHOP, NOW)
    word = Word(status="not_affected", reason="not reachable", by="ann", source="a.json", until="2026-12-01T00:00:00Z")
    aside = {("pkg:npm/left@1.0.0", "X-1"): word, ("pkg:npm/right@1.0.0", "X-2"): Word(status="", reason="unfixed")}
    store.replace({}, (), {}, aside={SHOP.digest: aside, "sha256:other": {("a", "b"): word}})
    assert make().aside() == {SHOP.digest: aside, "sha256:other": {("a", "b"): word}}
    assert store.aside([SHOP.digest, "sha256:nobody"]) == {SHOP.digest: aside}
    assert [row.cause for row in store.aside([SHOP.digest])[SHOP.digest].values()] == ["vex", "policy"]
    store.replace({}, (), {}, aside={"sha256:other": {}})
    store.keep(image("shop", npm("left", "2.0.0", BASE)), NOW)  # it is read otherwise
    assert store.aside() == {}
    store.replace({}, (), {}, aside={SHOP.digest: aside})
    store.forget(SHOP.digest)
    assert store.aside() == {}


def test_an_image_that_is_read_otherwise_had_what_counted_of_it(make: Make) -> None:
    store = make()
    store.keep(SHOP, NOW)
    left, _ = store.contents(SHOP.digest)
    (number, _), = store.images(0, 9)
    store.replace({left: (ONE, TWO)}, (), {"image": str(number)}, aside={
        SHOP.digest: {("pkg:npm/left@1.0.0", ONE.vulnerability): Word(status="ignored", reason="")}})
    store.keep(image("shop", npm("left", "2.0.0", BASE)), NOW)
    assert store.former(SHOP.digest) == [("pkg:npm/left@1.0.0", TWO)]


def test_images_of_a_layer(make: Make) -> None:
    store = make()
    store.keep(SHOP, NOW)
    store.keep(image("plant", npm("left", "1.0.0", BASE)), NOW)
    layers = {digest for layer in SHOP.layers for digest in (layer.digest, layer.diff_id)}
    assert layers
    for digest in layers:
        assert store.layered(digest)[0] == SHOP.digest
    assert store.layered("sha256:nobody") == []
    store.forget(SHOP.digest)
    assert all(SHOP.digest not in store.layered(digest) for digest in layers)
