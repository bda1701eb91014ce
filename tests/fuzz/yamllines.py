"""YAML read by lines beside YAML by events: `python -m tests.fuzz.yamllines COUNT SEED FILE…`; exit 1 on a difference.

Texts are documents of the files with lines moved, doubled, indented otherwise and spelled with YAML's signs. What is
read by lines must be what is read by events, and be right.
"""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Sequence
from pathlib import Path

from custody.errors import MalformedError
from custody.formats import yaml, yamllines

SIGNS = (": ", ":", " #", "#", "- ", "-", "'", '"', "|", ">", "&a ", "*a", "!t ", "{}", "[]", "[a, b]", "{a: b}", "? ",
         "%", "@", "`", "~", "null", "yes", "0x1F", "0o7", "1_000", "1e3", ".5", "-.5", "-1", ".inf", "12:30", "<<: ",
         "...", "---", "\n---\n", "\t", "\r", "é", "\u0085", " ", "  ", "\\", ",", "on: ", "1: ", "a: ", "''", '""',
         "a'b", "'a''b'", "=")
SEEDS = ("a: 1\nb:\n- c: d\n  e: f\n- g\nh: {}\n", "a:\n  - b:\n      c: d\n    e:\n    - f\n  - 'g h'\n",
         "---\nkind: List\nitems: []\nx: \"y: z\"\n",
         "a:\n  b:\n    c:\n      - 1\n      - -1\n      - 1.5\n  d: e#f\n")


def mutated(text: str, chance: random.Random) -> str:
    """One text like it."""
    lines = text.split("\n")
    for _ in range(chance.choice((1, 1, 1, 2, 3, 6))):
        at = chance.randrange(len(lines))
        match chance.randrange(7):
            case 0:
                lines[at] = " " * chance.randrange(1, 5) + lines[at]
            case 1:
                lines[at] = lines[at].removeprefix(" " * chance.randrange(1, 5))
            case 2:
                lines.insert(chance.randrange(len(lines)), lines[at])
            case 3:
                del lines[at]
                lines = lines or [""]
            case 4:
                place = chance.randrange(len(lines[at]) + 1)
                lines[at] = lines[at][:place] + chance.choice(SIGNS) + lines[at][place:]
            case 5:
                key, colon, _ = lines[at].partition(":")
                lines[at] = key + colon + " " + "".join(chance.choices(SIGNS, k=chance.choice((1, 1, 2))))
            case _:
                lines[at] = lines[at].replace("- ", "", 1) if chance.random() < 0.5 else "- " + lines[at]
    return "\n".join(lines)


def differs(text: str) -> str | None:
    """How the two readings of a text differ; None where they agree or it is not read by lines."""
    plain = yamllines.documents(text)
    if not plain:
        return None
    try:
        right = yaml.any_documents(text, "text")
    except MalformedError as error:
        return f"read as {json.dumps(plain)}, and it is wrong: {error.message}"
    if json.dumps(right) != json.dumps(plain):
        return f"read as {json.dumps(plain)}, and it is {json.dumps(right)}"
    return None


def main(count: int, seed: int, files: Sequence[str]) -> int:
    chance = random.Random(seed)
    texts = [*SEEDS, *(file.read_text() for name in files for file in
                       ([Path(name)] if Path(name).is_file() else Path(name).rglob("*.yaml")))]
    texts = [part for text in texts for part in text.split("\n---\n") if len(part) < 4000]
    read, wrong = 0, 0
    for _ in range(count):
        text = mutated(chance.choice(texts), chance)
        read += bool(yamllines.documents(text))
        if (difference := differs(text)) is not None:
            wrong += 1
            print(f"{text}\n=> {difference}\n")
    print(f"{count} texts, {read} read by lines, {wrong} differ")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]))
