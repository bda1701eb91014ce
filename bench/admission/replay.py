"""Kept decisions made again by other policies: `python bench/admission/replay.py [COUNT]`, seconds of one core."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from bench.admission.webhook import TOOLS, pss

from custody.adapters.sqlite.decisions import SqliteDecisions
from custody.admission.webhook import Admission
from custody.evidence.model import EvidenceSet
from custody.policy.load import PolicySet
from custody.policy.snapshot import Snapshot
from custody.ports.decisions import DecisionSearch
from custody.services.decisions import DecisionKeeper, Tally, replayed

NOW = datetime(2026, 11, 24, tzinfo=UTC)


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        policies = PolicySet.load(pss(folder))
        store = SqliteDecisions(folder / "decisions.db")
        keeper = DecisionKeeper(store, lambda: NOW, 7, 8 << 30)
        body = json.loads(subprocess.run([sys.executable, TOOLS / "admission-load", "body"], capture_output=True,
                                         check=True).stdout)

        async def nothing(_: Snapshot, __: list[str]) -> Mapping[str, EvidenceSet]:
            return {}

        async def ask(admission: Admission) -> float:
            begun = time.process_time()
            for number in range(count):
                body["request"]["uid"] = f"u-{number}"
                await admission.review(json.dumps(body).encode())
                if number % 200 == 0:
                    keeper.flush()
            return time.process_time() - begun

        spent = asyncio.run(ask(Admission(policies, nothing, lambda: NOW)))
        keeping = asyncio.run(ask(Admission(policies, nothing, lambda: NOW, observer=keeper)))
        keeper.close()
        size = (folder / "decisions.db").stat().st_size
        print(f"{count} reviews, {len(policies.policies)} policies: {spent / count * 1e6:.0f} µs CPU each, "
              f"{keeping / count * 1e6:.0f} with keeping (its thread's too), {size / count:.0f} bytes each, "
              f"{keeper.dropped} dropped")
        begun, tally = time.process_time(), Tally()
        for repeated in replayed(store, DecisionSearch(since=datetime(2026, 1, 1, tzinfo=UTC)), policies):
            tally.add(repeated)
        spent = time.process_time() - begun
        print(f"{tally.same} as before, {sum(map(len, tally.changed.values()))} otherwise, {len(tally.unknown)} not "
              f"known: {spent:.1f} s CPU, {spent / count * 1e6:.0f} µs each")


if __name__ == "__main__":
    main()
