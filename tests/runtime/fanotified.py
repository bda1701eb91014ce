"""Cases of the fanotify sensor, each in a mount namespace of its own:

    unshare --mount --propagation private python -m tests.runtime.fanotified FOLDER CASE

 Marks are set on a tmpfs that is made here, never on what others run from. It prints what came of it."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

from custody.adapters.sensors import roots
from custody.adapters.sensors.fanotify import FILESYSTEM, Execution, Fanotify
from custody.adapters.sensors.roots import Roots
from custody.errors import CustodyError
from custody.formats.telemetry.event import RuntimeEvent

FOLDER = sys.argv[1] if __name__ == "__main__" else ""
Result = dict[str, Any]


def mount() -> str:
    """A tmpfs with two programs: `good` and `bad`, which differ in their last byte."""
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", FOLDER], check=True)
    for name in ("good", "bad"):
        shutil.copy("/bin/true", f"{FOLDER}/{name}")
    with open(f"{FOLDER}/bad", "ab") as file:
        file.write(b"x")
    return FOLDER


def digest(name: str) -> str:
    with open(f"{FOLDER}/{name}", "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()


def shell(*programs: str) -> subprocess.Popen[str]:
    """A shell starts programs, one after the other, and says how each ended. They are its children, not ours."""
    script = "; ".join(f"{FOLDER}/{program} 2>/dev/null; echo $?" for program in programs)
    return subprocess.Popen(["/bin/sh", "-c", script], stdout=subprocess.PIPE, text=True)


def ended(process: subprocess.Popen[str], seconds: float = 20) -> list[str]:
    return process.communicate(timeout=seconds)[0].split()


async def ran(process: subprocess.Popen[str]) -> list[str]:
    return await asyncio.to_thread(ended, process)


def sensor(**options: Any) -> Fanotify:
    return Fanotify(mounts=[mount()], **options)


async def judged(made: Fanotify, *programs: str) -> tuple[list[str], list[RuntimeEvent]]:
    told: list[RuntimeEvent] = []
    task = asyncio.create_task(made.run(told.append))
    await asyncio.sleep(0)
    codes = await ran(shell(*programs))
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return codes, told


def denied() -> Result:
    mounted = mount()
    bad = digest("bad")

    def judge(execution: Execution) -> bool:
        return execution.sha256 != bad

    made = Fanotify(mounts=[mounted], judge=judge)
    codes, told = asyncio.run(judged(made, "good", "bad", "good"))
    get = told[1].fields.get
    return {"codes": codes, "told": len(told), "asked": made.asked, "denied": made.denied, "digest": get(
        "custody.exe.sha256") == bad, "path": get("proc.exepath") == f"{FOLDER}/bad", "name": get("proc.name"),
        "parent": get("proc.pname"), "user": get("user.uid"), "container": get("container.id"),
        "arguments": get("proc.args"), "losses": dict(made.losses())}


def changed() -> Result:
    """The digest is of the bytes that run: a program that is changed is another one."""
    mounted = mount()
    bad = digest("bad")

    async def steps() -> list[list[str]]:
        made = Fanotify(mounts=[mounted], judge=lambda execution: execution.sha256 != bad)
        task = asyncio.create_task(made.run(lambda event: None))
        await asyncio.sleep(0)
        codes = [await ran(shell("good"))]
        shutil.copy(f"{FOLDER}/bad", f"{FOLDER}/good")
        codes.append(await ran(shell("good")))
        os.rename(f"{FOLDER}/good", f"{FOLDER}/renamed")
        codes.append(await ran(shell("renamed")))
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return codes

    return {"codes": asyncio.run(steps())}


def failing() -> Result:
    """A judge that raises: what is late is the answer, and the error comes out."""
    def judge(execution: Execution) -> bool:
        raise ValueError("broken")

    made = sensor(judge=judge)
    made.start()
    process = shell("good")
    said = ""
    end = time.monotonic() + 10
    while time.monotonic() < end and not said:
        try:
            made.drain(lambda event: None)
        except ValueError as error:
            said = str(error)
    codes = ended(process)
    made.close()
    return {"codes": codes, "said": said}


def own() -> Result:
    """Programs of the judge's own wait for nobody, while it waits for them."""
    made = sensor(judge=lambda execution: False, deadline=30, deny_late=True)
    made.start()
    code = subprocess.run([f"{FOLDER}/good"], timeout=10, check=False).returncode
    made.close()
    return {"code": code}


def late(*, deny: bool) -> Result:
    made = sensor(judge=lambda execution: True, deadline=0.3, deny_late=deny)
    made.start()
    began = time.monotonic()
    codes = ended(shell("good"))  # nobody reads meanwhile
    took = time.monotonic() - began
    while made.drain(lambda event: None):
        pass
    made.close()
    return {"codes": codes, "waited": took >= 0.3, "losses": dict(made.losses())}


def backlog() -> Result:
    """A judge that is slower than programs come: who has waited for the deadline is answered without it."""
    def judge(execution: Execution) -> bool:
        time.sleep(0.02)
        return True

    async def steps() -> tuple[int, dict[str, int]]:
        made = sensor(judge=judge, deadline=0.3)
        task = asyncio.create_task(made.run(lambda event: None))
        await asyncio.sleep(0)
        many = [shell(*["good"] * 5) for _ in range(80)]
        codes = [code for process in many for code in await ran(process)]
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert set(codes) == {"0"}
        return made.asked, dict(made.losses())

    asked, losses = asyncio.run(steps())
    return {"all": asked + losses.pop("late", 0), "asked": asked > 0, "losses": losses}


def _judge_process(deadline: float) -> subprocess.Popen[str]:
    """A judge as a process of its own, which never answers by itself."""
    code = (f"from custody.adapters.sensors.fanotify import Fanotify\nimport time\nmade = Fanotify(mounts=[{FOLDER!r}],"
            f"judge=lambda e: True, deadline={deadline}, deny_late=True)\nmade.start()\nprint('up', flush=True)\n"
            "time.sleep(60)\n")
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    return process


def killed() -> Result:
    """kill -9 of the judge: who waits goes on at once, and nobody waits any more."""
    mount()
    judge = _judge_process(deadline=30)
    waiting = shell("good")
    time.sleep(0.3)
    asleep = waiting.poll() is None
    judge.send_signal(signal.SIGKILL)
    judge.wait()
    return {"asleep": asleep, "codes": ended(waiting, 10), "later": ended(shell("good"), 10)}


def stopped() -> Result:
    """SIGSTOP of the judge: the keeper answers at the deadline, and at once where too many wait."""
    mount()
    judge = _judge_process(deadline=0.3)
    judge.send_signal(signal.SIGSTOP)
    codes = ended(shell("good"), 10)
    many = [shell("good") for _ in range(300)]
    crowd = {code for process in many for code in ended(process, 30)}
    judge.send_signal(signal.SIGCONT)
    judge.kill()
    judge.wait()
    return {"codes": codes, "crowd": sorted(crowd)}


def keeper_killed() -> Result:
    """kill -9 of the process that looks on: everybody goes on, and the sensor says that it sees nothing."""
    async def steps() -> tuple[str, list[str]]:
        made = sensor(judge=lambda execution: True, deadline=30, deny_late=True)
        task = asyncio.create_task(made.run(lambda event: None))
        await asyncio.sleep(0)
        assert made._keeper is not None
        made._keeper.kill()
        try:
            await asyncio.wait_for(task, 10)
        except CustodyError as error:
            return error.message, await ran(shell("good"))
        return "", []

    said, codes = asyncio.run(steps())
    return {"said": said, "codes": codes}


def overlay() -> Result:
    """A container's root: programs of both layers are seen, by a mark on the mount and on the filesystem."""
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", FOLDER], check=True)
    for name in ("lower", "upper", "work", "merged"):
        os.mkdir(f"{FOLDER}/{name}")
    shutil.copy("/bin/true", f"{FOLDER}/lower/below")
    subprocess.run(["mount", "-t", "overlay", "overlay", "-o", f"lowerdir={FOLDER}/lower,upperdir={FOLDER}/upper,"
                    f"workdir={FOLDER}/work", f"{FOLDER}/merged"], check=True)
    shutil.copy("/bin/true", f"{FOLDER}/merged/above")
    seen = {}
    for scope in (0x10, FILESYSTEM):
        made = Fanotify(mounts=[f"{FOLDER}/merged"], scope=scope)
        _, told = asyncio.run(judged(made, "merged/below", "merged/above"))
        seen[str(scope)] = [event.fields.get("proc.name") for event in told]
    return {"seen": seen}


def _box(identifier: str) -> str:
    """An overlay as a runtime mounts it, with the programs `good` and `bad` of a tmpfs below."""
    base = f"{FOLDER}/{identifier}"
    for name in ("upper", "work", "rootfs"):
        os.makedirs(f"{base}/{name}")
    subprocess.run(["mount", "-t", "overlay", "overlay", "-o", f"lowerdir={FOLDER}/lower,upperdir={base}/upper,"
                    f"workdir={base}/work", f"{base}/rootfs"], check=True)
    return f"{identifier}/rootfs"


async def _until(seen: Callable[[], bool]) -> None:
    def look() -> None:
        end = time.monotonic() + 10
        while not seen() and time.monotonic() < end:
            time.sleep(0.02)

    await asyncio.to_thread(look)


def subprocess_of(*command: str) -> subprocess.Popen[str]:
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def elsewhere(program: str) -> subprocess.Popen[str]:
    """In a copy of this mount namespace."""
    return subprocess.Popen(["unshare", "--mount", "--propagation", "private", "/bin/sh", "-c",
                             f"{FOLDER}/{program}"], stdout=subprocess.PIPE, text=True)


def found() -> Result:
    """Containers that are there and those that come are watched, also in copies of their mount namespace."""
    mount()
    os.mkdir(f"{FOLDER}/lower")
    shutil.copy(f"{FOLDER}/good", f"{FOLDER}/lower/good")
    before, after = "a1" * 32, "b2" * 32
    places = [_box(before)]

    async def steps() -> tuple[list[str], dict[str, int], list[str]]:
        looking = Roots(os.getpid())
        made = Fanotify(roots=looking)
        told: list[RuntimeEvent] = []
        task = asyncio.create_task(made.run(told.append))
        await _until(lambda: len(looking._mounts) == 1)
        places.append(_box(after))
        await _until(lambda: len(looking._mounts) == 2)
        await ran(shell("good", *(f"{place}/good" for place in places)))
        await ran(elsewhere(f"{places[1]}/good"))
        await ran(subprocess_of("umount", f"{FOLDER}/{places[0]}"))
        await _until(lambda: len(looking._mounts) == 1)
        left = [path for _, path in looking._mounts]
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return [event.fields.get("proc.exepath") for event in told], dict(made.losses()), left

    told, losses, left = asyncio.run(steps())
    return {"told": [path.removeprefix(f"{FOLDER}/").partition("/")[0][:2] for path in told], "losses": losses,
            "left": [path.removeprefix(f"{FOLDER}/")[:2] for path in left]}


def copied() -> Result:
    """A mark on a mount is not on its copy: why filesystems are marked."""
    mount()
    os.mkdir(f"{FOLDER}/lower")
    shutil.copy(f"{FOLDER}/good", f"{FOLDER}/lower/good")
    place = _box("a1" * 32)
    seen = {}
    for scope in (0x10, FILESYSTEM):
        made = Fanotify(mounts=[f"{FOLDER}/{place}"], scope=scope)

        async def steps(made: Fanotify = made) -> int:
            told: list[RuntimeEvent] = []
            task = asyncio.create_task(made.run(told.append))
            await asyncio.sleep(0)
            await ran(elsewhere(f"{place}/good"))
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            return len(told)

        seen[str(scope)] = asyncio.run(steps())
    return {"seen": seen}


def crowded() -> Result:
    """More containers than are watched at once are counted, and the others go on."""
    mount()
    os.mkdir(f"{FOLDER}/lower")
    roots.MOST = 2
    for number in range(4):
        _box(f"{number:x}" * 64)

    async def steps() -> dict[str, int]:
        made = Fanotify(roots=Roots(os.getpid()))
        task = asyncio.create_task(made.run(lambda event: None))
        await asyncio.sleep(0.2)
        losses = dict(made.losses())
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return losses

    return {"losses": asyncio.run(steps())["unwatched-root"] >= 2}


def refused() -> Result:
    said = []
    for place in ("/nowhere", "/etc/passwd"):
        try:
            Fanotify(mounts=[place]).start()
        except CustodyError as error:
            said.append(error.message)
    return {"said": said}


CASES: dict[str, Callable[[], Result]] = {
    "denied": denied, "changed": changed, "failing": failing, "own": own, "late": lambda: late(deny=False),
    "late-denied": lambda: late(deny=True), "killed": killed, "stopped": stopped, "keeper-killed": keeper_killed,
    "overlay": overlay, "backlog": backlog, "refused": refused, "found": found,
    "copied": copied, "crowded": crowded}

if __name__ == "__main__":
    print(json.dumps(CASES[sys.argv[2]]()))
