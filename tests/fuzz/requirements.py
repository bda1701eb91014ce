"""`python -m tests.fuzz.requirements COUNT [SEED]`: generated requirements files, read by custody and by pip.

Prints each file in which custody has nothing to say against a lock that names other distributions, versions or hashes
than this Python's pip would install by it, under a locale of UTF-8 or of Latin-1; and each plain lock that custody
refuses for no reason.
"""

from __future__ import annotations

import locale
import random
import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import pip
from pip._internal.network.session import PipSession
from pip._internal.req.req_file import RequirementsFileParser, get_line_parser

from custody.errors import CustodyError
from custody.formats.lockfile import parse_requirements

Entry = tuple[str, str, tuple[str, ...]]
_HASHES = (*(f"sha256:{char * 64}" for char in "abc"), "sha512:" + "d" * 128)
_ENDS = (*"\n\n\n\n\n\n", "\r\n", "\r", "\f", "\v", "\x1c", "\x85", "\u2028", "\u2029", "\\\n", " \\\n", "\\\r\n",
         "\\\\\n", " # \\\n", " #\n", "#\n", "\n#", "\n # c\n", "\\\n#c\n", "\\ \n")
_PIECES = ("six==1.16.0", "evil==1.0", "a", "==", "1.0", "Foo_Bar [x] == 2.0", "b.c==1!2.0.post1",
           "x==1.0.zip",
           "y===1", "z==1.*", "w>=1", "v==1,!=2", "six @ https://x/y",
           "https://x/six-1.0.whl", "./six", "-e .", "-r other.txt",
           "--index-url https://evil.example", "-i x", "--pre", "--has=sha256:" + "a" * 64, "${HOME}", "${UNSET_X}",
           "$HOME", "; python_version<'3'", "é", "à", "…", "\u017fix==1", "#", " #", "\xa0#", "\t", "  ", "\\", "'",
           '"', "\0", "coding: utf-8", "coding=latin-1", "# -*- coding: utf-7 -*-", "+AAo-", "[a,b]", "[", "]", ",",
           "--", "-", "\ufeff")
_TOPS = (b"", b"", b"", b"", b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff", b"# -*- coding: utf-7 -*-\n",
         b"# coding: utf8\n",
         b"# vim: set fileencoding=latin-1 :\n", b"\n# coding=utf-16\n", b" # coding: utf-7\n", b"# coding: nonsense\n",
         b"# coding: ascii\n", b"# x\r# coding: utf-7\n")


def files(seed: int, count: int) -> Iterator[tuple[bytes, bool]]:
    """Bytes, and whether it is a plain lock, which must be taken."""
    chance = random.Random(seed)
    for _ in range(count):
        if chance.random() < 0.2:
            yield _plain(chance), True
            continue
        text = ""
        for _ in range(chance.randint(1, 6)):
            if chance.random() < 0.6:
                text += chance.choice(("six==1.16.0", "evil==1.0", "Foo.Bar==2"))
                for _ in range(chance.randint(0, 2)):
                    text += "".join((chance.choice((" ", "  ", " \\\n ", "\\\n  ", "\t", " \\\n#", "\\\n")), "--hash",
                                     chance.choice(("=", "=", " ", "='", "= ")), chance.choice(_HASHES),
                                     chance.choice(("", "", "", "'"))))
            for _ in range(chance.choice((0, 0, 0, 1, 1, 2))):
                text += chance.choice(("", " ")) + chance.choice(_PIECES)
            text += chance.choice(_ENDS)
        encoding = chance.choice(("utf-8",) * 12 + ("latin-1", "utf-16", "utf-7"))
        yield chance.choice(_TOPS) + text.encode(encoding, "ignore"), False


def _plain(chance: random.Random) -> bytes:
    lines = []
    for name in chance.sample(("six", "Evil_Thing", "a.b", "zope-interface", "x1"), chance.randint(1, 4)):
        extras = chance.choice(("", "", "[a]", "[a, b]"))
        lines.append(f"{name}{extras}=={chance.choice(('1.0', '2!1.0rc1', '1.0.post2+local.1', '0.1.dev3'))} \\")
        hashes = chance.sample(_HASHES, chance.randint(1, 3))
        lines += [f"    --hash={value}" + (" \\" if value != hashes[-1] else "") for value in hashes]
        lines += chance.choice(([], ["    # via something"], [""], ["# a comment"]))
    return (chance.choice(("", "# made by a tool\n", "\ufeff")) + "\n".join(lines) + chance.choice(("", "\n"))).encode()


def of_pip(path: Path, session: PipSession, encoding: str) -> list[Entry] | None:
    """What pip would install; None where it would not. A line with any option but hashes is an entry of its own."""
    entries: list[Entry] = []
    with mock.patch.object(locale, "getpreferredencoding", return_value=encoding):
        try:
            lines = list(RequirementsFileParser(session, get_line_parser(None)).parse(str(path), constraint=False))
        except Exception:  # whatever it is: nothing is installed
            return None
    for line in lines:
        options = {key: value for key, value in vars(line.opts).items() if value and not key.endswith("_control")}
        hashes = options.pop("hashes", {})
        text = "" if options else str(getattr(line, "requirement", None) or "")
        match = re.fullmatch(r"([A-Za-z0-9._-]+)\s*(?:\[[^\]]*\])?\s*==\s*([^\s;,*=]+)", text.strip())
        if match is None:
            entries.append(("?", repr((text, sorted(options))), ()))
        else:
            entries.append((re.sub(r"[-_.]+", "-", match[1]).lower(), match[2], tuple(sorted(
                f"{kind}:{value}" for kind, values in hashes.items() for value in values))))
    return entries


def compare(path: Path, session: PipSession, data: bytes, plain: bool) -> tuple[bool, str | None]:
    """Whether custody took it as a lock, and what is wrong."""
    path.write_bytes(data)
    try:
        lock = parse_requirements(data)
    except CustodyError as error:
        return False, f"refused: {error}" if plain else None
    if lock.problems:
        return False, f"refused: {lock.problems[0]}" if plain else None
    ours = [(entry.name, entry.version, tuple(sorted(entry.hashes))) for entry in lock.entries]
    for encoding in ("utf-8", "latin-1"):
        theirs = of_pip(path, session, encoding)
        if theirs is not None and theirs != ours:
            return True, f"{encoding}: custody {ours}, pip {theirs}"
    return True, None


def main(count: int, seed: int) -> int:
    session = PipSession()
    wrong = taken = 0
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "requirements.txt"
        (Path(folder) / "other.txt").write_text("evil==9\n")
        for data, plain in files(seed, count):
            is_lock, reason = compare(path, session, data, plain)
            taken += is_lock
            if reason is not None:
                wrong += 1
                print(f"{data!r}\n    {reason}")
    print(f"{count} files, {taken} of them taken as locks, {wrong} not as pip {pip.__version__} reads them")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0))
