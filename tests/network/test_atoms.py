"""Peers in pieces: the same answers as all at once, and thousands of rules are judged or refused by name."""

from __future__ import annotations

import random
from typing import Any

import pytest

from custody.errors import UnsupportedError
from custody.network import atoms, findings, matrix, tiers
from custody.network.addresses import number
from custody.network.intervals import Intervals
from custody.network.model import Direction
from tests.fuzz.netpol import naively
from tests.network.worlds import engine, pod, policy, world

A, B = pod("x/a", "10.0.0.1", app="a"), pod("x/b", "10.0.0.2", app="b")


@pytest.mark.parametrize("seed", range(200))
def test_pieces_hold_what_their_spaces_hold(seed: int) -> None:
    rng = random.Random(seed)
    universe = rng.getrandbits(12)
    spaces = [rng.getrandbits(12) for _ in range(rng.randrange(6))]
    expected = {bit: tuple(at for at, space in enumerate(spaces) if space >> bit & 1)
                for bit in range(12) if universe >> bit & 1}
    for pieces_of in (atoms.of_classes, atoms._refined):
        told = pieces_of(spaces, universe)
        assert {bit: numbers for numbers, bits in told.items() for bit in range(12) if bits >> bit & 1} == expected

    def some() -> Intervals:
        return Intervals((first, first + rng.randrange(4)) for first in (rng.randrange(20) for _ in range(3)))

    space, blocks = some(), [some() for _ in range(rng.randrange(5))]
    pieces = atoms.of_addresses(blocks, space)
    assert {at: numbers for numbers, held in pieces.items() for at in range(30) if at in held} == {
        at: tuple(index for index, block in enumerate(blocks) if at in block) for at in range(30) if at in space}


@pytest.mark.parametrize("seed", range(25))
def test_piece_by_piece_is_as_all_at_once(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiers, "_AT_ONCE", 0)
    assert naively(random.Random(seed)) > 0


def blocks(count: int, mask: int, stride: int) -> list[dict[str, Any]]:
    return [{"to": [{"ipBlock": {"cidr": f"20.{place // 256}.{place % 256}.0/{mask}"}}], "ports": [{"port": 1 + at}]}
            for at in range(count) for place in (at * stride,)]


def test_thousands_of_rules_with_a_block_and_a_port_each() -> None:
    judging = engine(world(A, B), policy("x", egress=blocks(3000, 24, 1)))
    reach = judging.reach(judging.classes.of(A), Direction.EGRESS)
    assert len(reach.addresses) == 3001
    for at in (0, 1, 2999):
        outcome = reach.outside(number(f"20.{at // 256}.{at % 256}.7"))
        assert outcome.allowed.pairs == ((1 + at, 1 + at),)
    assert not [finding for finding in findings.findings(judging) if finding.code == "never-asked"]


def test_rules_that_lie_in_one_another_are_counted_and_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(atoms, "MOST", 20_000)
    wide = [{"to": [{"ipBlock": {"cidr": "20.0.0.0/8"}}], "ports": [{"port": 1000 + at}]} for at in range(300)]
    judging = engine(world(A, B), policy("x", egress=[*blocks(300, 24, 2), *wide]))
    monkeypatch.setattr(tiers, "_AT_ONCE", 100)
    with pytest.raises(UnsupportedError, match="more than 20,000 meetings of a rule and a peer are not judged"):
        judging.reach(judging.classes.of(A), Direction.EGRESS)
    with pytest.raises(UnsupportedError, match="meetings"):
        atoms._refined([1 << at for at in range(300)], (1 << 300) - 1)


def test_more_connections_than_anybody_reads_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    judging = engine(world(*(pod(f"x/p{at}", f"10.0.1.{at}") for at in range(20))))
    assert len(matrix.connections(judging)) > 300
    monkeypatch.setattr(matrix, "MOST", 100)
    with pytest.raises(UnsupportedError, match="more than 100 of them are not listed"):
        matrix.connections(judging)
