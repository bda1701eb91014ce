"""Generated pairs of versions, compared by custody and by the ecosystem's own program.

usage: python -m tests.fuzz.versionorders [PAIRS] [SEED] [NAME…]
Prints for each order how many pairs agreed, were refused by one side only, or differed: for a reason that has a rule
(`EXPLAINED`), or for none (of which some). The programs are Debian's: apt (dpkg's order), rpm, ruby, php-composer,
maven with javac, npm's semver, lua5.4 with luarocks, perl; `packaging` of Python.
"""

from __future__ import annotations

import json
import random
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from custody.errors import CustodyError
from custody.versions import compare

Pair = tuple[str, str]

_RUBY = """
STDIN.each_line(chomp: true) { |line| a, b = line.split("\\t", -1)
begin; puts(Gem::Version.new(a) <=> Gem::Version.new(b)); rescue ArgumentError; puts "!"; end }
"""
_PHP = """<?php require '/usr/share/php/Composer/Semver/autoload.php'; use Composer\\Semver\\VersionParser;
$p = new VersionParser(); while (($line = fgets(STDIN)) !== false) { [$a, $b] = explode("\\t", rtrim($line, "\\n"));
try { $a = $p->normalize($a); $b = $p->normalize($b); } catch (Exception $e) { echo "!\\n"; continue; }
if (str_starts_with($a, 'dev-') || str_starts_with($b, 'dev-')) { echo "!\\n"; continue; }
echo version_compare($a, $b), "\\n"; }
"""
_JAVA = """
import java.io.*; import org.apache.maven.artifact.versioning.ComparableVersion;
public class Order { public static void main(String[] args) throws Exception {
BufferedReader in = new BufferedReader(new InputStreamReader(System.in, "UTF-8")); String line;
StringBuilder out = new StringBuilder();
while ((line = in.readLine()) != null) { String[] p = line.split("\\t", -1);
try { out.append(Integer.signum(new ComparableVersion(p[0]).compareTo(new ComparableVersion(p[1])))).append("\\n"); }
catch (RuntimeException e) { out.append("!\\n"); } } System.out.print(out); } }
"""
_NODE = """
const s = require('/usr/lib/node_modules/npm/node_modules/semver');
for (const line of require('fs').readFileSync(0, 'utf8').split('\\n')) { if (!line) continue;
const [a, b] = line.split('\\t'); try { console.log(s.compare(a, b)); } catch (e) { console.log('!'); } }
"""
_APT = """
import sys, apt_pkg
apt_pkg.init_system()
for line in sys.stdin:
    a, b = line.rstrip('\\n').split('\\t'); c = apt_pkg.version_compare(a, b); print((c > 0) - (c < 0))
"""
_RPM = """%{lua:
for line in io.lines("FILE") do local a, b = line:match("^(.-)\\t(.*)$")
local ok, x, y = pcall(function() return rpm.ver(a), rpm.ver(b) end)
if not ok or x == nil or y == nil then print("!\\n") elseif x < y then print("-1\\n")
elseif x == y then print("0\\n") else print("1\\n") end end}"""
_PACKAGING = """
import sys
from packaging.version import Version
for line in sys.stdin:
    a, b = line.rstrip('\\n').split('\\t')
    try: a, b = Version(a), Version(b)
    except ValueError: print('!'); continue
    print((a > b) - (a < b))
"""


_LUA = """
package.path = "/usr/share/lua/5.4/?.lua;/usr/share/lua/5.3/?.lua;/usr/share/lua/5.2/?.lua;/usr/share/lua/5.1/?.lua"
package.preload["luarocks.core.util"] = function() return {warning = function() bad = true end} end
local vers = require("luarocks.core.vers")
for line in io.lines() do local a, b = line:match("^(.-)\t(.*)$"); bad = false
local x, y = vers.parse_version(a), vers.parse_version(b)
print(bad and "!" or x < y and "-1" or y < x and "1" or "0") end
"""
_PERL = """
use version; while (<STDIN>) { chomp; my ($a, $b) = split /\t/, $_, -1;
my $c = eval { version->parse($a) <=> version->parse($b) }; print defined $c ? $c : "!", "\n" }
"""


def _number(chance: random.Random) -> str:
    return chance.choice(["0", "1", "2", "3", "9", "10", "11", "01", "00", "20", "100", "2024"])


def _dotted(chance: random.Random, most: int = 4) -> str:
    return ".".join(_number(chance) for _ in range(chance.randint(1, most)))


def _debian(chance: random.Random) -> str:
    text = _dotted(chance) + "".join(chance.choice([
        "~rc1", "~", "+dfsg", "+b1", "a", "b2", "-1", ".z", "+deb12u", "-", "~~", "1"]) for _ in range(
            chance.randint(0, 3)))
    if chance.random() < 0.6:
        text += "-" + chance.choice(["0", "1", "2", "1ubuntu1", "0+b1", "1~bpo12+1", "10", "1.1"])
    return chance.choice(["", "", "", "0:", "1:"]) + text.rstrip("-")


def _rpm(chance: random.Random) -> str:
    text = _dotted(chance) + "".join(chance.choice([
        "~rc1", "^git1", "~", "^", "a", "b2", "_1", ".z", "+x", "p1", "rc", "..", "A"]) for _ in range(
            chance.randint(0, 3)))
    release = "-" + chance.choice(["1", "2", "1.el9", "1.el9_2", "1.el9_10", "10.fc38", "0.1~rc", "1.module+el8"])
    return chance.choice(["", "", "", "0:", "1:"]) + text + release


def _gem(chance: random.Random) -> str:
    return _dotted(chance) + "".join(chance.choice([
        ".a", ".beta", ".rc1", "-1", "-x", ".pre", "b", ".0", ".A", ".b2", "a1", ".0.a"]) for _ in range(
            chance.randint(0, 2)))


def _composer(chance: random.Random) -> str:
    return chance.choice(["", "", "v", "V"]) + _dotted(chance) + chance.choice([
        "", "", "-dev", "-alpha", "-alpha1", "-beta.2", "-BETA2", "-RC1", "-rc.3", "-p1", "-patch2", "-pl3", "a1", "b",
        "RC", "-stable", "+build", "-a.2", "-alpha10"])


def _maven(chance: random.Random) -> str:
    return _dotted(chance) + "".join(chance.choice([
        "-alpha", "-beta1", "-rc1", ".RC2", "-SNAPSHOT", ".Final", "-ga", "-1", "-jre", ".RELEASE", "sp", "-sp1", "a1",
        ".foo", "-foo", ".0", "-0", "-M3", "m2", "-cr1", ".", "-", "x"]) for _ in range(chance.randint(0, 3)))


def _semver(chance: random.Random) -> str:
    text = ".".join(str(chance.choice([0, 1, 2, 9, 10, 11])) for _ in range(3))
    if chance.random() < 0.6:
        text += "-" + ".".join(chance.choice(["alpha", "beta", "rc", "0", "1", "10", "2", "a-b", "x1", "A", "-"])
                               for _ in range(chance.randint(1, 3)))
    return chance.choice(["", "v"]) + text + chance.choice(["", "", "+b", "+1.2"])


def _python(chance: random.Random) -> str:
    return chance.choice(["", "", "", "1!", "v"]) + _dotted(chance) + chance.choice([
        "", "", "a1", "b2", "rc1", "-alpha", ".beta.2", "_c3", "pre1", "preview"]) + chance.choice([
            "", "", ".post1", "-1", "rev2", ".r"]) + chance.choice(["", "", ".dev1", "dev", "-dev2"]) + chance.choice([
                "", "", "+local", "+1.a", "+a.1", "+ubuntu-1", "+10", "+2"])


def _lua(chance: random.Random) -> str:
    text = "".join(chance.choice(["1", "2", "10", "0", "scm", "dev", "rc", "rc1", "beta", "alpha2", "a", "b3", "pre"])
                   + chance.choice([".", ".", ".", "-", "_", ""]) for _ in range(chance.randint(1, 4)))
    return text.rstrip(".-_") + chance.choice(["-1", "-2", "-10", "-0", ""])


def _perl(chance: random.Random) -> str:
    return chance.choice(["", "", "v"]) + _dotted(chance) + chance.choice(["", "", "", "_1", "_02", "00", "5"])


def _piped(command: list[str]) -> Callable[[str], str]:
    def ask(text: str) -> str:
        return subprocess.run(command, input=text, capture_output=True, text=True, check=True).stdout

    return ask


def _ask_rpm(text: str) -> str:
    with tempfile.NamedTemporaryFile("w", suffix=".tsv") as file:
        file.write(text)
        file.flush()
        return subprocess.run(["rpm", "--eval", _RPM.replace("FILE", file.name)], capture_output=True, text=True,
                              check=True).stdout


def _ask_maven(text: str) -> str:
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "Order.java")
        source.write_text(_JAVA)
        jar = "/usr/share/java/maven-artifact-3.x.jar:/usr/share/java/commons-lang3.jar"
        subprocess.run(["javac", "-cp", jar, "-d", folder, str(source)], check=True, capture_output=True)
        return _piped(["java", "-cp", f"{folder}:{jar}", "Order"])(text)


ORDERS: dict[str, tuple[str, str, Callable[[random.Random], str], Callable[[str], str]]] = {
    "apt": ("Debian", "/usr/bin/python3", _debian, _piped(["/usr/bin/python3", "-c", _APT])),
    "rpm": ("AlmaLinux", "rpm", _rpm, _ask_rpm),
    "ruby": ("RubyGems", "ruby", _gem, _piped(["ruby", "-e", _RUBY])),
    "composer": ("Packagist", "php", _composer, _piped(["php", "-r", _PHP.removeprefix("<?php")])),
    "maven": ("Maven", "javac", _maven, _ask_maven),
    "npm": ("npm", "node", _semver, _piped(["node", "-e", _NODE])),
    "luarocks": ("luarocks", "luarocks", _lua, _piped(["lua5.4", "-e", _LUA])),
    "perl": ("cpan", "perl", _perl, _piped(["perl", "-e", _PERL])),
    "packaging": ("PyPI", sys.executable, _python, _piped([sys.executable, "-c", _PACKAGING])),
}
"""By the program: ecosystem, what must be installed, versions, how it is asked."""


def _null_behind_hyphen(version: str) -> bool:
    """`1-0rc1`, `1.ga-1`: ComparableVersion makes a list of what is behind each hyphen, and of each change between
    digits and letters, and takes the nulls of a list away where it ends; Maven's document takes those before a hyphen.
    """
    tokens = re.findall(r"([-.]?)([0-9]+|[^0-9.-]+|(?=[-.]|$))", f"0{version}" if version[:1] in "-." else version)
    tokens = [(separator or "-", text.strip("0") if text.isdigit() else text) for separator, text in tokens
              if separator or text]
    return any(separator == "-" and text.lower() in ("", "ga", "final", "release") for separator, text in tokens[1:-1])


def _word_behind_dot(version: str) -> bool:
    """`1.foo`, `1.RC.02`: a word of the list that it stands in to ComparableVersion, older than any list; to Maven's
    document a token as any other.
    """
    return re.search(r"(?:^|\.)[A-Za-z]", version) is not None


def _date(version: str) -> bool:
    """`2024.01-1`: Composer keeps of a date three parts, whatever they are."""
    return re.match(r"[vV]?[0-9]{4}(?:[.:-]?[0-9]{2}){1,6}(?:[.:-]?[0-9]{1,3}){0,2}", version) is not None


EXPLAINED: dict[str, tuple[Callable[[str], bool], ...]] = {
    "maven": (_null_behind_hyphen, _word_behind_dot), "composer": (_date,)}
"""Why the program may say otherwise: for what kind of versions."""


def explained(name: str, pair: Pair) -> str:
    """The rule by which the two may differ; empty where there is none."""
    rule = next((rule for rule in EXPLAINED.get(name, ()) if any(map(rule, pair))), None)
    return rule.__name__.strip("_").replace("_", " ") if rule else ""


def _close(chance: random.Random, version: Callable[[random.Random], str]) -> Pair:
    """Two of which the second is often nearly the first."""
    left = version(chance)
    if chance.random() < 0.5:
        return left, version(chance)
    place = chance.randrange(len(left) + 1)
    return left, left[:place] + chance.choice(["0", "1", ".0", ".1", "a", "-1", ""]) + left[place:]


def pairs(name: str, count: int, seed: int) -> list[Pair]:
    chance = random.Random(f"{name}:{seed}")
    return [_close(chance, ORDERS[name][2]) for _ in range(count)]


def differences(name: str, sample: list[Pair]) -> Iterator[tuple[Pair, str, str]]:
    """Each pair with what the program says and what custody says: `-1`, `0`, `1`, or `!` where it is refused."""
    ecosystem, _, _, ask = ORDERS[name]
    answers = ask("".join(f"{left}\t{right}\n" for left, right in sample)).split()
    assert len(answers) == len(sample), (name, len(answers))
    for pair, answer in zip(sample, answers, strict=True):
        try:
            own = str(compare(ecosystem, *pair))
        except CustodyError:
            own = "!"
        yield pair, answer, own


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 20_000
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 1
    for name in sys.argv[3:] or ORDERS:
        if shutil.which(ORDERS[name][1]) is None:
            print(f"{name}: {ORDERS[name][1]} is not installed")
            continue
        tally: Counter[str] = Counter()
        shown: list[str] = []
        for pair, answer, own in differences(name, pairs(name, count, seed)):
            kind = ("agree" if answer == own else "refused by custody only" if own == "!" else
                    "refused by the program only" if answer == "!" else
                    f"differ: {explained(name, pair)}".rstrip(": "))
            tally[kind] += 1
            if kind in ("refused by custody only", "differ") and len(shown) < 12:
                shown.append(f"  {json.dumps(pair)}: {name} {answer}, custody {own}")
        print(f"{name}: {dict(tally)}", *shown, sep="\n")


if __name__ == "__main__":
    main()
