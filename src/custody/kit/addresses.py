"""Addresses of pages as packages state them."""

from __future__ import annotations

import re

_SCHEME = re.compile(r"(?:git\+|scm:(?:git|svn|hg):)?(https?|git|ssh)://(?:[^/@\s]{0,64}@)?([^\s<>\"'`{}|\\^]{3,500})\Z")
_SHELL = re.compile(r"git@([A-Za-z0-9.-]{3,100}):([^\s<>\"'`{}|\\^]{1,300})\Z")


_LABEL = re.compile(r"[a-z][a-z0-9-]*\Z")
_TOP = re.compile(r"(?:com|org|net|edu|gov|dev|app|info|biz|[a-z]{2})\Z")
_FORGES = {"io.github": "github.com", "com.github": "github.com", "io.gitlab": "gitlab.com", "org.bitbucket":
           "bitbucket.org", "io.bitbucket": "bitbucket.org"}
_DISTRIBUTORS = {
    "almalinux": ("AlmaLinux", "https://almalinux.org"), "alpine": ("Alpine Linux", "https://alpinelinux.org"),
    "amzn": ("Amazon Linux", "https://aws.amazon.com"), "centos": ("CentOS", "https://www.centos.org"),
    "debian": ("Debian", "https://www.debian.org"), "fedora": ("Fedora Project", "https://fedoraproject.org"),
    "opensuse": ("openSUSE", "https://www.opensuse.org"), "redhat": ("Red Hat", "https://www.redhat.com"),
    "rhel": ("Red Hat", "https://www.redhat.com"), "rocky": ("Rocky Linux", "https://rockylinux.org"),
    "sles": ("SUSE", "https://www.suse.com"), "ubuntu": ("Ubuntu", "https://ubuntu.com"),
    "wolfi": ("Wolfi", "https://wolfi.dev")}
_PLACE = re.compile(r"(?:[a-z0-9][a-z0-9-]*\.)+[a-z]{2,6}(?P<path>/[\w.~-]+)?\Z")


_PAGES = dict(_DISTRIBUTORS.values())


def place(name: str, kind: str) -> str:
    """The page of a supplier of that type of packages who is called after it: `github.com/gorilla`, `crates.io`.

    Empty for any other name, and for a group of Maven's, `org.ow2.asm`, which is no host.
    """
    if page := _PAGES.get(name):
        return page
    match = _PLACE.match(name)
    return f"https://{name}" if match and (match["path"] or kind != "maven") else ""


def owner(name: str, kind: str) -> str:
    """The page of whoever has the domain that a Maven group is named after: Maven Central lets only them publish there.
    `org.apache.maven/maven-core` is of https://apache.org, `io.github.ann/x` of https://github.com/ann.
    """
    labels = name.partition("/")[0].split(".") if kind == "maven" else []
    if len(labels) < 2 or not all(map(_LABEL.match, labels[:3])) or not _TOP.match(labels[0]):
        return ""
    forge = _FORGES.get(".".join(labels[:2]))
    if forge:
        return f"https://{forge}/{labels[2]}" if len(labels) > 2 else ""
    return f"https://{labels[1]}.{labels[0]}"


def distributor(namespace: str) -> tuple[str, str]:
    """Who distributes the packages of a namespace of deb, rpm or apk, and their page; empty where that is not known."""
    return _DISTRIBUTORS.get(namespace, ("", ""))


def address(stated: object) -> str:
    """An `http` or `https` address, of what may be git's; without whoever logs in there. Empty for anything else."""
    if not isinstance(stated, str):
        return ""
    text = stated.strip()
    if match := _SHELL.match(text):
        return f"https://{match[1]}/{match[2]}"
    match = _SCHEME.match(text)
    if match is None or not match[2].isprintable():
        return ""
    return f"{'http' if match[1] == 'http' else 'https'}://{match[2]}"
