"""CSAF documents of ours beside those who check them: Secvisogram's validator (schema, mandatory tests of section 6.1)
and Red Hat's csaf-lib, which reads VEX.

usage: python -m tests.fuzz.csaf [COUNT [SEED]]

Needs node, and `@secvisogram/csaf-validator-lib` in the `node_modules` of $CUSTODY_CSAF; csaf-lib where Python has it.
Exit code 1 where one of them finds anything.
"""

from __future__ import annotations

import importlib.util
import json
import os
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from custody.errors import CustodyError
from custody.formats.vex.statement import JUSTIFICATIONS, STATUSES, Product, Statement
from custody.vulns.vex.settlement import settled
from tests.contents.test_csaf import written

_VALIDATE = """
import validate from '@secvisogram/csaf-validator-lib/validate.js'
import * as basic from '@secvisogram/csaf-validator-lib/basic.js'
import fs from 'fs'
const said = []
for (const document of JSON.parse(fs.readFileSync(0))) {
  const result = await validate(Object.values(basic), document)
  said.push(result.tests.filter(test => !test.isValid).map(test => `${test.name}: ${JSON.stringify(test.errors[0])}`))
}
console.log(JSON.stringify(said))
"""
_NAMES = (("pkg:npm/a@1",), ("pkg:npm/a@2",), ("pkg:npm/%40s/b",), ("pkg:maven/g/a@1?type=jar",), ("just a name",),
          ("pkg:oci/shop@sha256:" + "a" * 64,), ("sha256:" + "b" * 64,), ("sha512:" + "c" * 128, "x.tar"),
          ("pkg:generic/a%20b@1",),
          ("pkg:deb/debian/curl@1?distro=debian-12", "cpe:2.3:a:haxx:curl:1:*:*:*:*:*:*:*"), ("cpe:/a:b:c:1",),
          ("pkg:npm/A", "pkg:npm/alias@1"), ("urn:cdx:3e671687-395b-41f5-a30f-a58921a69b79/1#x",), ("pkg:broken",),
          ("pkg:github/o/r@v1#sub/path",))
_WORDS = ("", "not reached", "\u00fc \"quoted\"\n", " ", "x" * 2000)


def statement(dice: random.Random) -> Statement:
    status = dice.choice(STATUSES)
    return Statement(
        vulnerability=dice.choice(("CVE-2026-0001", "CVE-2026-12345", "GHSA-aaaa-bbbb-cccc", "MAL-2026-1", "a b")),
        aliases=tuple(dice.sample(("CVE-2026-0009", "PYSEC-2026-1", "GHSA-zzzz-bbbb-cccc"), dice.randrange(3))),
        status=status, impact=dice.choice(_WORDS), action=dice.choice(_WORDS),
        justification=dice.choice(("", *JUSTIFICATIONS, "requires_environment")) if status == "not_affected" else "",
        products=tuple(Product(names=dice.choice(_NAMES), components=tuple(dice.sample(_NAMES, dice.randrange(3))))
                       for _ in range(dice.randrange(1, 5))))


def documents(count: int, dice: random.Random) -> tuple[list[dict[str, Any]], Counter[str]]:
    made: list[dict[str, Any]] = []
    refused: Counter[str] = Counter()
    while len(made) < count:
        try:
            made.append(written(settled([statement(dice) for _ in range(dice.randrange(1, 6))])[0]))
        except CustodyError as error:
            refused[type(error).__name__] += 1
    return made, refused


def main() -> int:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
    made, refused = documents(count, random.Random(int(sys.argv[2]) if len(sys.argv) > 2 else 1))
    place = Path(os.environ["CUSTODY_CSAF"])
    process = subprocess.run(["node", "--input-type=module", "-e", _VALIDATE], input=json.dumps(made).encode(),
                             cwd=place, capture_output=True, check=True)
    said = json.loads(process.stdout)
    broken = [(number, tests) for number, tests in enumerate(said) if tests]
    print(f"Secvisogram: {count - len(broken)} of {count} valid; refused before: {dict(refused)}")
    for number, tests in broken[:5]:
        print(str(tests)[:600], json.dumps(made[number])[:400])
    if importlib.util.find_spec("csaf_lib") is not None:
        models = importlib.import_module("csaf_lib.models")
        for document in made:
            models.CSAFVEX.from_dict(document)
        print(f"csaf-lib: {count} read")
    return 1 if broken else 0


if __name__ == "__main__":
    raise SystemExit(main())
