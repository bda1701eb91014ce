"""`python -m tests.fuzz.configurations FORMAT COUNT [SEED]`: generated files, read by custody and by `conftest parse`.

FORMAT is dockerfile, yaml, json, toml, ini, dotenv, properties, ignore, xml, jsonc,
codeowners, or rules: then modules and inputs, judged by
`conftest test`. Prints each file that one of them refuses and the other does not, or that they read differently.
"""

# ruff: noqa: E501 - tables of cases

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from custody.errors import CustodyError
from custody.services.configurations import reading
from policylang.errors import LanguageError
from tests.fuzz.chance import Chance

PROGRAM = Path(os.environ.get("CUSTODY_PEERS", Path.home() / ".cache/custody/peers")) / "conftest"
_BATCH = 24
_FLAGGED = ("RUN", "COPY", "ADD", "HEALTHCHECK")


class Generator(Chance):
    def some(self, make: Callable[[], str], most: int, by: str = "") -> str:
        return by.join(make() for _ in range(self.random.randint(0, most)))

    # ── Dockerfiles

    def dockerfile(self) -> str:
        end = self.pick("\n", "\n", "\n", "\r\n")
        lines = [self.pick("# syntax=docker/dockerfile:1", "# escape=`", "#escape = \\", "# check=skip=all", "# escape=x",
                           "#", "# a comment", "", "#syntax=a") for _ in range(self.random.randint(0, 2))]
        if self.chance(0.9):
            lines.append(self.pick("FROM a", "FROM a AS b", "from --platform=linux/amd64 a:1", "FROM a as B-1", "ARG X=1"))
        lines += [self.instruction() for _ in range(self.random.randint(0, 3))]
        return end.join(lines) + self.pick(end, "", end + end)

    def words(self) -> str:
        return self.some(lambda: self.pick("a", "b=c", "'d e'", '"f\\"g"', "h\\ i", "/x", "-y", "--z", "=", "k=", "=v", "é",
                                           "a=à", "`q", '"', "'", "$A", "${B:-c}", "\\", "[", "<<EOF", '["a", "b"]', "1m",
                                           "k='v w'", 'k="v\\" w"', "<", "a<<b", "x\u00a0y"), 4,
                         self.pick(" ", " ", "  ", "\t"))

    def instruction(self) -> str:
        name = self.pick("RUN", "run", "COPY", "ADD", "ENV", "LABEL", "ARG", "CMD", "ENTRYPOINT", "EXPOSE", "USER", "WORKDIR",
                         "VOLUME", "STOPSIGNAL", "HEALTHCHECK", "SHELL", "ONBUILD", "MAINTAINER", "FROM", "# c", "  # d", "#",
                         "", "RUN", "COPY", "CMD", "RUN", "COPY", "# e")
        if not name or name.lstrip().startswith("#"):
            return str(name)
        if name == "ONBUILD":
            return f"{name} {self.pick(self.instruction(), self.words())}"
        flag = self.pick("", "", "", "", *[self.flag(name), f"{self.flag(name)} {self.flag(name)}"] * (name.upper() in _FLAGGED), "--",
                         *[self.flag(name)] * self.chance(0.05))
        if name == "HEALTHCHECK":
            body = self.pick("NONE", "NONE x", f"CMD {self.words()}", 'CMD ["a", "b"]', "cmd x", "FOO", "")
        elif name == "FROM":
            body = self.pick("a", "a AS b", "a as 1b", "a b c", "", "a AS B_c.d")
        elif name in ("RUN", "run", "COPY", "ADD") and self.chance(0.3):
            end = self.pick("EOF", "'EOF'", '"EOF"', "-EOF", " EOF", "E$F", "EO\\F", '""')
            inner = self.pick("hello\nEOF", "\tx\n\tEOF", "a", "E$F", "EOF", "x\nEOF\ny")
            return f"{name} {flag} <<{end} {self.pick('', 'cat', '/x', '<<B /x')}\n{inner}\n{self.pick('', 'B', 'EOF')}"
        elif self.chance(0.25):
            body = self.pick('["a", "b"]', "[]", '["a", 1]', '["a"', "['a']", '["\\u00e9"]', '["a"] x', '[ "a b" ]', '["\\x"]')
        elif name in ("ENV", "LABEL") and self.chance(0.6):
            body = self.some(lambda: self.pick("a=b", 'c="d e"', "f=g\\ h", "i='j k'", "l=", "a b c", "é=à"), 3, " ")
        else:
            body = self.words() if self.chance(0.5) or name.upper() not in ("USER", "WORKDIR", "STOPSIGNAL", "MAINTAINER", "ENV") else "a"
        if name in ("COPY", "ADD"):
            body += " a b"
        text = f"{name} {flag}{' ' if flag else ''}{body}"
        if self.chance(0.25):
            at = self.random.randint(0, len(text))
            text = text[:at] + self.pick("\\\n", "\\ \n  ", "`\n", "\\\n# c\n", "\\\n\n", "\\\\\n") + text[at:]
        return text + self.pick("", "", " ", " \\", "\t")

    def flag(self, name: str) -> str:
        good = {"COPY": ["--from=a", "--chown=1:2", "--link", "--link=x", "--exclude=a", "--parents=true"],
                "ADD": ["--checksum=sha256:a", "--unpack", "--keep-git-dir=false"],
                "RUN": ["--mount=type=cache,target=/x", "--mount=from=$a", '--mount="a,b"', "--network=none", "--network=x",
                        "--security=insecure", "--device=a,required", "--mount='x\"y'", "--mount=,,"],
                "HEALTHCHECK": ["--interval=5s", "--interval=5", "--timeout=1us", "--retries=-1", "--retries=3",
                                "--interval=1h --interval=1h"]}
        odd = ("--foo", "--foo=bar", '--from="a b"', "--from=é", "--chown=a\\ b", "--x='y", '--from="a b" --chown=à', "--from='x")
        return str(self.pick(*good.get(name.upper(), odd)) if self.chance(0.8) else self.pick(*odd))

    # ── others

    def scalar(self) -> str:
        return str(self.pick("a", "1", "1.5", "1e3", "true", "yes", "null", "~", "0x1F", "017", "0o17", "1_000", '"q\\n"', "'s'",
                             "1000000", "1e21", "123456789012345678", "2024-01-02", "1:30", "-0", ".5", "é", "|\n  x\n  y", "[]",
                             "{}", "[1, a, {b: c}]", "&x 1", "*x", "!!str 1", ".inf", "<<", "0.1", "1e-7", "9007199254740993"))

    def yaml(self) -> str:
        def document() -> str:
            return self.pick(self.some(lambda: f"{self.pick('a', 'b', 'c', 'n', '1', 'on')}: {self.scalar()}\n", 4),
                             self.some(lambda: f"- {self.scalar()}\n", 3), self.scalar() + "\n", "# c\n", "",
                             "a: &x {b: 1}\nc:\n  <<: *x\n  d: 2\n")
        return str(self.pick("", "", "---\n", "%YAML 1.1\n---\n", "\ufeff")) + self.pick("---\n", "--- \n", "--- # x\n", "...\n---\n").join(
            document() for _ in range(self.random.randint(1, 3)))

    def json(self) -> str:
        def value(depth: int) -> str:
            if depth < 3 and self.chance(0.5):
                if self.chance(0.5):
                    return "[" + ", ".join(value(depth + 1) for _ in range(self.random.randint(0, 3))) + "]"
                return "{" + ", ".join(f'"{self.pick("a", "b", "c")}": {value(depth + 1)}'
                                       for _ in range(self.random.randint(0, 3))) + "}"
            return str(self.pick("1", "-0", "1.50", "1e21", "1000000", "1e400", "123456789012345678901", "true", "null", '"a"',
                                 '"\\u00e9"', '"\\ud800"', '"\t"', "01", '"<&>"', "0.1", "1e-7", "1E5"))
        return str(self.pick("", "", "\ufeff", " ")) + value(0) + self.pick("", "\n", " x", "{}")

    def toml(self) -> str:
        return self.some(lambda: self.pick("[a]", "[a.b]", "[[c]]", "x = 1", "y = 1.5", "z = true", 'n = "q"', "l = [1, 2]",
                                           "t = {a = 1}", "d = 1979-05-27T07:32:00Z", "e = 1979-05-27", "f = 07:32:00",
                                           "g = 0x1F", "h = 1e3", "a.b.c = 1", "x = 2", "'k k' = 1", "i = inf",
                                           "j = 1979-05-27T07:32:00.5-07:00", "m = 1979-05-27T07:32:00", 's = """a\nb"""',
                                           "u = 9223372036854775807", "# c", "w ="), 6, "\n")

    def ini(self) -> str:
        return self.some(lambda: self.pick("[a]", "[b]", "[DEFAULT]", "[]", "[a", "[c] ; x", "x = 1", "y: true", "z=abc", "q = \"a b\"",
                                           "w = 'a # b'", "v = a ; b", "u = a#b", "t =", "k", "= v", "- = 1", "- = 2",
                                           "`k k` = 1", '"k=" = 2', 'm = """a\nb"""', "n = `a\nb`", "o = a\\\nb", "p = nan",
                                           "r = 1e3", "s = 0x10", "x = t", "x = F", "e = 1_0", "# c", "; c", "", " lead = 1",
                                           "é = à", 'd = "a"b"', "g = %(x)s", "h = 007", "[s.t]", "o2 = a\\", "f = 1.50",
                                           '"""k""" = 1', "i = +1", "j = .5", "l = 'a'"), 7, self.pick("\n", "\n", "\r\n"))

    def dotenv(self) -> str:
        return self.some(lambda: self.pick("A=1", "B = 2", "export C=3", "D: x", "E:x", "F='a $A'", 'G="a $A\\n\\$A b"', "H=a # c",
                                           "I=a#c", "J=", "K", "L='a\nb'", 'M="a\nb" # c', "N=${A}", "O=$NOPE x", "# c", "",
                                           "P=a b", "Q.R=1", "S-T=1", 'U="a', "V='a'b'", 'W="\\"q\\""', "X=\\$A", "export Y",
                                           "export A", "Z=é", "a=$A", "b=${a}", " c = d ", "d==e", 'e="x" y', "=f", "g='a' # 'b'",
                                           "h = \"a\\tb\"", "i:\tz", "j=$", "k=${}", "export=1"), 6,
                         self.pick("\n", "\n", "\r\n", "\r"))

    def properties(self) -> str:
        return self.some(lambda: self.pick("a=1", "b: 2", "c 3", "d", "e = f \\\n   g", "! c", "# c", "", "h\\=i=1", "j=\\u00e9",
                                           "k=\\u00", "l=${a}", "m=${m}", "n=${o", "=p", "q==r", "s\\ t = u", "v=a\\tb", "w=\\x",
                                           " x = y ", "a=2", "\\", "z=${nope}", "é=à", "y=\\", "f1=\\ud800", "o=${b}${a}"), 6,
                         self.pick("\n", "\n", "\r\n", "\r"))

    def ignore(self) -> str:
        return self.some(lambda: self.pick("*.pyc", "!a", "# c", "", " ", "a b", "a\\ ", "a\\\\b", "\\!x", "  lead", "a  ", "#", "!", "\\#x", "a\\ \\ ", "\ta", "# c  ", "!\\\\"), 6, self.pick("\n", "\n", "\r\n"))

    def jsonc(self) -> str:
        """With comments that have neither quotes, backslashes nor stars apart: the other one takes those for something else."""
        text = self.json().removeprefix("\ufeff")
        parts = text.replace("{", "{\0").replace(",", ",\0").replace(":", ":\0").split("\0")
        made = [part + (self.pick("", "", "", "// c /* d\n", "/* e\n // f */", " # g\n", "\n", "\t", "/**/", "//\n", "/***/")
                        if part.count('"') % 2 == 0 else "") for part in parts]
        return str(self.pick("", "// a\n") + "".join(made) + self.pick("", "", "", "// z", "\n", "/* z */", "# z", ","))

    def codeowners(self) -> str:
        def line() -> str:
            pattern = self.some(lambda: self.pick("*", "a", "/", "**", "?", ".js", "\\ ", "\\", "-", "_", "docs", "@", "(x)", "+", "é", "[a]", "!", "\\#", "***"), 4)
            owners = self.some(lambda: self.pick("@a", "@org/team", "x@y.org", "@a-b_c", "@org/t_m", "bad", "x@y", "@", "@a/b/c", "é@x.org", "a%b+c@d-e.fr", "a@b.abcdefg"), 3, self.pick(" ", "  ", "\t"))
            return str(self.pick("", "", " ", "\t") + pattern + self.pick(" ", "\t", "  ") + owners + self.pick("", "", " # c ", "#c # d", " #", "\r"))
        return str(self.some(lambda: self.pick(line(), line(), line(), "", "# c", "  # d", "#"), 3, "\n") + self.pick("", "\n", "\n\n"))

    def xml(self) -> str:
        def element(depth: int) -> str:
            name = self.pick("a", "b", "x:c")
            attributes = self.some(lambda: self.pick(' p="1"', ' q="a &amp; b"', " x:r='2'"), 1)
            inner = self.some(lambda: self.pick("text", " t ", "\n  ", "&lt;é", "<![CDATA[x<y]]>", "<!-- c -->", "<?pi?>",
                                                element(depth + 1) if depth < 3 else "", "&#65;"), 4)
            return f"<{name}{attributes}/>" if self.chance(0.2) else f"<{name}{attributes}>{inner}</{name}>"
        text = self.pick("", '<?xml version="1.0"?>\n', '<?xml version="1.0" encoding="UTF-8"?>') + element(0)
        return text.replace("<x:c", '<x:c xmlns:x="u"', 1) if "x:" in text and "<x:c" in text else text


def normal(value: Any) -> Any:
    """With numbers as floats, as JSON of either side has them."""
    if isinstance(value, dict):
        return {name: normal(member) for name, member in value.items()}
    if isinstance(value, list):
        return [normal(member) for member in value]
    return float(value) if type(value) is int else value


def theirs(form: str, files: list[Path]) -> dict[str, Any]:
    """By file; the text of an error where conftest refuses it."""
    done = subprocess.run([PROGRAM, "parse", "--parser", form, *files], capture_output=True, text=True, check=False)
    if done.returncode == 0:
        read = normal(json.loads(done.stdout))
        return {str(files[0]): read} if len(files) == 1 else read
    if len(files) == 1:
        return {str(files[0]): done.stderr}
    half = len(files) // 2
    return theirs(form, files[:half]) | theirs(form, files[half:])


def compared(form: str, count: int, seed: int) -> int:
    generator = Generator(seed)
    different = refused = fell = 0
    with tempfile.TemporaryDirectory() as folder:
        for start in range(0, count, _BATCH):
            files = []
            for at in range(start, min(start + _BATCH, count)):
                files.append(Path(folder) / f"{at}.txt")
                files[-1].write_bytes(getattr(generator, form)().encode())
            said = theirs(form, files)
            for file in files:
                expected = said[str(file)]
                if isinstance(expected, str) and "panic: " in expected:
                    fell += 1
                    continue
                try:
                    ours: Any = normal(json.loads(json.dumps(reading.read([str(file)], form, b"", os.environ)[str(file)])))
                except CustodyError as error:
                    ours = error.message
                wrong = isinstance(expected, str) and expected.startswith("Error: ")
                refused += wrong
                if wrong and isinstance(ours, str) and ours.startswith(str(file)):
                    continue
                if ours != expected:
                    different += 1
                    print(f"--- {form} {file.name} (seed {seed})\n{file.read_text()!r}\ncustody  {ours!r}\nconftest {expected!r}")
    print(f"{form}: {count} files, {refused} refused by conftest, {fell} on which it fell over, {different} different")
    return different


# ── rules

class Rules(Generator):
    def module(self) -> str:
        package = self.pick("main", "main", "main", "other", "a.b")
        lines = [f"package {package}", ""]
        for at in range(self.random.randint(1, 5)):
            name = self.pick("deny", "warn", "violation", "deny_x", "warn_x_y", "violation_1", "deny_", "denied", "deny")
            condition = self.pick("input.a", "input.a == 1", "not input.b", "input.c > 2", "input.c[_] == 1", "true", "false",
                                  'input.kind == "Pod"', "count(input) > 1", "data.x.y == input.a", 'data.conftest.file.name == "0.json"',
                                  "to_number(input.s) > 1")
            value = self.pick(f'"m{at}"', 'sprintf("v %v", [input.a])', 'sprintf("%v %d %s %.1f", [input, input.a, input.c, input.b])', 'json.marshal(input)', f'{{"msg": "o{at}", "n": input.c}}', '""', "5", '{"x": 1}',
                              f'{{"msg": "l", "_loc": {{"file": "f.yaml", "line": {at}}}, "d": {{"b": 1, "a": [true]}}}}')
            lines.append(f"{name} contains v if {{\n\t{condition}\n\tv := {value}\n}}\n")
        if self.chance(0.4):
            rule = self.pick('"x"', '""', '"1"', '"x", "y"', '"x_y"')
            lines.append(f"exception contains rules if {{\n\t{self.pick('input.a', 'true', 'input.b')}\n\trules := [{rule}]\n}}\n")
        if self.chance(0.1):
            lines.append(self.pick("deny[m] if { m := 1 }\n", 'warn_q if { input.a }\n', "deny_f(x) := x\n", "default deny_z := false\n"))
        return "\n".join(lines)

    def given(self) -> str:
        def document() -> dict[str, Any]:
            return {name: self.pick(0, 1, 2.5, 3, 1000000, 1e21, "1", "x", "", None, True, [1, 2], [], {"a": 1}, 12345678901234567)
                    for name in ("a", "b", "c", "s") if self.chance(0.6)} | ({"kind": "Pod"} if self.chance(0.4) else {})
        if self.chance(0.3):
            return json.dumps([document() for _ in range(self.random.randint(0, 3))])
        return json.dumps(document())


def sorted_results(text: str) -> Any:
    read = json.loads(text)
    for result in read or []:
        for name in ("failures", "warnings", "exceptions"):
            if name in result:
                result[name] = sorted(result[name], key=lambda each: json.dumps(each, sort_keys=True))
    return sorted(read or [], key=lambda result: (result["filename"], result["namespace"]))


def judged(count: int, seed: int) -> int:
    generator = Rules(seed)
    different = failed = 0
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        Path("data").mkdir()
        Path("data/x.yaml").write_text("x: {y: 1}\n")
        for at in range(count):
            policy = Path(f"p{at}")
            policy.mkdir()
            for number in range(generator.random.randint(1, 2)):
                (policy / f"{number}.rego").write_text(generator.module())
            inputs = []
            for number in range(generator.random.randint(1, 3)):
                inputs.append(f"{number}.json")
                Path(inputs[-1]).write_text(generator.given())
            flags = [*generator.pick(["--all-namespaces"], [], [], ["-n", "a.b"], ["-n", "*"], ["-n", "main,other"]),
                     *generator.pick([], [], ["--combine"], ["--show-builtin-errors"]), *generator.pick([], ["--fail-on-warn"], ["--no-fail"]),
                     "-d", "data", "-o", "json"]
            peer = subprocess.run([PROGRAM, "test", "-p", policy, *flags, *inputs], capture_output=True, text=True, check=False)
            ours = subprocess.run([sys.executable, "-m", "custody.cli.main", "policy", "test", "-p", policy, *flags, *inputs],
                                  capture_output=True, text=True, check=False) if count < 50 else in_process(policy, flags, inputs)
            failed += "Error: " in peer.stderr
            theirs_said = None if "Error: " in peer.stderr else sorted_results(peer.stdout)
            ours_said = None if "error: " in ours.stderr else sorted_results(ours.stdout)
            if peer.returncode != ours.returncode or theirs_said != ours_said:
                different += 1
                print(f"--- {at} (seed {seed}) {' '.join(flags)}: {peer.returncode} {ours.returncode}")
                print(*(file.read_text() for file in sorted(policy.iterdir())), *(Path(name).read_text() for name in inputs), sep="\n")
                print("custody ", json.dumps(ours_said), ours.stderr[-400:])
                print("conftest", json.dumps(theirs_said), peer.stderr[-400:], flush=True)
    print(f"rules: {count} runs, {failed} refused by conftest, {different} different")
    return different


def in_process(policy: Path, flags: list[str], inputs: list[str]) -> subprocess.CompletedProcess[str]:
    from click.testing import CliRunner

    from custody.cli.policy_test import command

    done = CliRunner().invoke(command, ["-p", str(policy), *flags, *inputs], standalone_mode=False)
    if isinstance(done.exception, (CustodyError, LanguageError)):
        return subprocess.CompletedProcess([], 1, "", f"error: {done.exception}")
    if done.exception is not None:
        raise done.exception
    return subprocess.CompletedProcess([], done.return_value or 0, done.stdout, done.stderr)


if __name__ == "__main__":
    chosen, number, seeded = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else 1
    sys.exit(bool(judged(number, seeded) if chosen == "rules" else compared(chosen, number, seeded)))
