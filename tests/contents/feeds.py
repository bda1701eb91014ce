"""Documents as publishers write them, with which importers are tested: cut down to what they must not lose."""

from __future__ import annotations

import json
from typing import Any


def debian() -> bytes:
    def said(status: str, **more: str) -> dict[str, Any]:
        return {"status": status, "repositories": {"bookworm": "3.0.11-1"}, "urgency": "not yet assigned", **more}

    return json.dumps({
        "openssl": {
            "CVE-2023-0286": {"description": "There is a type confusion", "scope": "remote", "releases": {
                "bookworm": said("resolved", fixed_version="3.0.8-1", urgency="high**"),
                "buster": said("resolved", fixed_version="0"), "sid": said("resolved", fixed_version="3.0.8-1")}},
            "CVE-2024-5535": {"releases": {
                "bookworm": said("open", nodsa="Minor issue", nodsa_reason="postponed"),
                "bullseye": said("open", nodsa="Minor issue", nodsa_reason=""),
                "trixie": said("open", urgency="unimportant")}}},
        "glibc": {
            "CVE-2010-4756": {"releases": {"bookworm": said("open", urgency="unimportant"),
                                           "jessie": said("open", urgency="end-of-life")}},
            "CVE-2023-0286": {"releases": {"bookworm": said("undetermined"),
                                           "trixie": said("open", nodsa="", nodsa_reason="ignored")}},
            "TEMP-0000000-F7A20F": {"releases": {"bookworm": said("open")}}}}).encode()


def alpine(**changes: Any) -> bytes:
    return json.dumps({
        "apkurl": "{{urlprefix}}/{{distroversion}}/{{reponame}}/{{arch}}/{{pkg.name}}-{{pkg.ver}}.apk",
        "archs": ["aarch64", "x86_64"], "reponame": "main", "urlprefix": "https://dl-cdn.alpinelinux.org/alpine",
        "distroversion": "v3.19", "packages": [
            {"pkg": {"name": "openssl", "secfixes": {
                "3.1.4-r1": ["CVE-2023-5363"], "3.1.1-r0": ["CVE-2023-2650"], "0": ["CVE-2022-3996"]}}},
            {"pkg": {"name": "xen", "secfixes": {"4.9.0-r0": ["CVE-2017-12135 XSA-226", "XSA-235"],
                                                 "4.10.0-r0": ["CVE_2017-5753 CVE-2017-5715"]}}}],
        **changes}).encode()


def alma() -> bytes:
    def built(name: str, release: str, arch: str = "x86_64") -> dict[str, str]:
        return {"name": name, "epoch": "1", "version": "18.14.2", "release": release, "arch": arch}

    return json.dumps({"data": [
        {"id": "ALSA-2023:1583", "type": "security", "severity": "Important", "title": "Important: nodejs:18",
         "issued_date": 1680566400, "updated_date": 1680652800,
         "references": [{"type": "cve", "id": "CVE-2022-4904"}, {"type": "self", "id": "ALSA-2023:1583"}],
         "modules": [{"name": "nodejs", "stream": "18", "arch": "x86_64"}, {"name": "nodejs", "stream": "18"}],
         "packages": [built("nodejs", "2.module_el8.7.0+3541+cf81b7ba"), built("npm", "3.el8", "noarch")]},
        {"id": "ALBA-2023:1", "type": "bugfix", "issued_date": 1680566400, "packages": []}]}).encode()


def rocky() -> bytes:
    return json.dumps({"advisories": [
        {"type": "TYPE_SECURITY", "shortCode": "RL", "name": "RLSA-2025:23049", "severity": "SEVERITY_IMPORTANT",
         "synopsis": "Important: tomcat security update", "affectedProducts": ["Rocky Linux 9"],
         "publishedAt": "2025-12-10T15:40:07.123456Z", "cves": [{"name": "CVE-2025-31651", "sourceBy": "MITRE"}],
         "rpms": {"Rocky Linux 9": {"nvras": [
             "tomcat-1:9.0.87-2.el9_9.1.noarch.rpm", "tomcat-1:9.0.87-2.el9_9.1.src.rpm",
             "tomcat-el-3.0-api-1:9.0.87-2.el9_9.1.noarch.rpm"]}}},
        {"type": "TYPE_BUGFIX", "name": "RLBA-2025:1", "publishedAt": "2025-12-10T15:40:07Z", "rpms": {}}],
        "total": 2, "page": 0, "size": 100}).encode()


UPDATEINFO = b"""<?xml version="1.0" encoding="UTF-8"?>
<updates>
<update author="linux-security@amazon.com" from="linux-security@amazon.com" status="final" type="security"
 version="1.4">
<id>ALAS2-2021-1722</id><title>Amazon Linux 2 - ALAS2-2021-1722: important priority package update for openssl</title>
<issued date="2021-10-26 23:05:00"/><updated date="2021-10-28 18:09:00"/><severity>important</severity>
<description>CVE-2021-3712: out of bounds</description>
<references><reference href="http://cve.example/CVE-2021-3712" id="CVE-2021-3712" title="" type="cve"/></references>
<pkglist><collection short="amazon-linux-2---core"><name>Amazon Linux 2 - core</name>
<package name="openssl" version="1.0.2k" release="19.amzn2.0.8" epoch="1" arch="aarch64"><filename>x</filename>
</package>
<package name="openssl-libs" version="1.0.2k" release="19.amzn2.0.8" epoch="1" arch="x86_64"/>
<package name="openssl" version="1.0.2k" release="19.amzn2.0.8" epoch="1" arch="src"/>
</collection></pkglist></update>
<update type="security"><id>ALASDOCKER-2022-001</id><title>docker</title><issued date="2022-01-18 20:00"/>
<severity>medium</severity><references><reference id="CVE-2021-41089" type="cve"/></references><pkglist><collection>
<package name="docker" version="20.10.7" release="5.amzn2" epoch="0" arch="x86_64"/></collection></pkglist></update>
<update type="bugfix"><id>ALAS2-2021-1</id></update>
</updates>"""

ORACLE = b"""<?xml version="1.0" encoding="UTF-8"?>
<oval_definitions xmlns="http://oval.mitre.org/XMLSchema/oval-definitions-5"
 xmlns:red-def="http://oval.mitre.org/XMLSchema/oval-definitions-5#linux">
<generator><product_name xmlns="http://oval.mitre.org/XMLSchema/oval-common-5">Oracle Errata System</product_name>
</generator>
<definitions>
<definition id="oval:com.oracle.elsa:def:20231583" version="501" class="patch"><metadata>
<title> ELSA-2023-1583: nodejs:18 security update (IMPORTANT) </title>
<affected family="unix"><platform>Oracle Linux 8</platform></affected>
<reference source="elsa" ref_id="ELSA-2023-1583" ref_url="https://linux.oracle.com/errata/ELSA-2023-1583.html"/>
<reference source="CVE" ref_id="CVE-2022-4904" ref_url="https://linux.oracle.com/cve/CVE-2022-4904.html"/>
<advisory><severity>IMPORTANT</severity><issued date="2023-04-05"/><cve href="x">CVE-2022-4904</cve></advisory>
</metadata>
<criteria operator="AND">
 <criterion test_ref="oval:com.oracle.elsa:tst:001" comment="Oracle Linux 8 is installed"/>
 <criterion test_ref="oval:com.oracle.elsa:tst:002" comment="Module nodejs:18 is enabled"/>
 <criteria operator="OR"><criteria operator="AND">
  <criterion test_ref="oval:com.oracle.elsa:tst:003" comment="Oracle Linux arch is x86_64"/>
  <criteria operator="OR"><criteria operator="AND">
   <criterion test_ref="oval:com.oracle.elsa:tst:004" comment="nodejs is earlier than 1:18.14.2-2"/>
   <criterion test_ref="oval:com.oracle.elsa:tst:005" comment="nodejs is signed with the Oracle Linux 8 key"/>
  </criteria></criteria></criteria></criteria></criteria></definition>
<definition id="oval:com.oracle.elsa:def:20239999" version="501" class="patch"><metadata>
<title>ELSA-2023-9999: glibc security update (MODERATE)</title><affected><platform>Oracle Linux 9</platform></affected>
<advisory><severity>MODERATE</severity><issued date="2023-04-06"/><cve>CVE-2022-4905</cve></advisory></metadata>
<criteria operator="AND"><criterion test_ref="oval:com.oracle.elsa:tst:006" comment="glibc is earlier"/>
</criteria></definition>
</definitions>
<tests>
<red-def:rpminfo_test id="oval:com.oracle.elsa:tst:001"><red-def:object object_ref="oval:com.oracle.elsa:obj:001"/>
 <red-def:state state_ref="oval:com.oracle.elsa:ste:001"/></red-def:rpminfo_test>
<red-def:rpminfo_test id="oval:com.oracle.elsa:tst:004"><red-def:object object_ref="oval:com.oracle.elsa:obj:004"/>
 <red-def:state state_ref="oval:com.oracle.elsa:ste:004"/></red-def:rpminfo_test>
<red-def:rpminfo_test id="oval:com.oracle.elsa:tst:005"><red-def:object object_ref="oval:com.oracle.elsa:obj:004"/>
 <red-def:state state_ref="oval:com.oracle.elsa:ste:005"/></red-def:rpminfo_test>
<red-def:rpminfo_test id="oval:com.oracle.elsa:tst:006"><red-def:object object_ref="oval:com.oracle.elsa:obj:006"/>
 <red-def:state state_ref="oval:com.oracle.elsa:ste:006"/></red-def:rpminfo_test>
</tests>
<objects>
<red-def:rpminfo_object id="oval:com.oracle.elsa:obj:001"><red-def:name>oraclelinux-release</red-def:name>
</red-def:rpminfo_object>
<red-def:rpminfo_object id="oval:com.oracle.elsa:obj:004"><red-def:name>nodejs</red-def:name></red-def:rpminfo_object>
<red-def:rpminfo_object id="oval:com.oracle.elsa:obj:006"><red-def:name>glibc</red-def:name></red-def:rpminfo_object>
</objects>
<states>
<red-def:rpminfo_state id="oval:com.oracle.elsa:ste:001">
<red-def:version operation="pattern match">^8</red-def:version></red-def:rpminfo_state>
<red-def:rpminfo_state id="oval:com.oracle.elsa:ste:004">
<red-def:evr datatype="evr_string" operation="less than">1:18.14.2-2.module+el8.7.0+21032+c5b75adb</red-def:evr>
</red-def:rpminfo_state>
<red-def:rpminfo_state id="oval:com.oracle.elsa:ste:005">
<red-def:signature_keyid operation="equals">82562ea9</red-def:signature_keyid></red-def:rpminfo_state>
<red-def:rpminfo_state id="oval:com.oracle.elsa:ste:006">
<red-def:evr datatype="evr_string" operation="less than">2:2.34-60.0.3.ksplice1.el9_2.7</red-def:evr>
</red-def:rpminfo_state>
</states></oval_definitions>"""

AZURE = b"""<oval_definitions xmlns="http://oval.mitre.org/XMLSchema/oval-definitions-5"
 xmlns:linux-def="http://oval.mitre.org/XMLSchema/oval-definitions-5#linux">
<generator>
<oval:product_name xmlns:oval="http://oval.mitre.org/XMLSchema/oval-common-5">Azure Linux OVAL Definition
 Generator</oval:product_name></generator>
<definitions>
<definition class="vulnerability" id="oval:com.microsoft.azurelinux:def:1" version="1"><metadata>
<title>CVE-2023-0286 affecting package openssl for versions less than 1.1.1k-21</title>
<affected family="unix"><platform>Azure Linux</platform></affected>
<reference ref_id="CVE-2023-0286" ref_url="https://nvd.nist.gov/vuln/detail/CVE-2023-0286" source="CVE"/>
<patchable>true</patchable><advisory_date>2023-02-15T01:00:00Z</advisory_date><severity>High</severity></metadata>
<criteria operator="AND"><criterion comment="installed" test_ref="t:1"/><criterion comment="less" test_ref="t:2"/>
</criteria>
</definition>
<definition class="vulnerability" id="oval:com.microsoft.azurelinux:def:2" version="1"><metadata>
<title>CVE-2023-9999 affecting package vim</title><affected><platform>Azure Linux</platform></affected>
<reference ref_id="CVE-2023-9999" source="CVE"/><patchable>Not Applicable</patchable><severity>Low</severity></metadata>
<criteria operator="AND"><criterion comment="vim" test_ref="t:3"/></criteria></definition>
</definitions>
<tests>
<linux-def:rpminfo_test id="t:1"><linux-def:object object_ref="o:1"/><linux-def:state state_ref="s:1"/>
</linux-def:rpminfo_test>
<linux-def:rpminfo_test id="t:2"><linux-def:object object_ref="o:1"/><linux-def:state state_ref="s:2"/>
</linux-def:rpminfo_test>
<linux-def:rpminfo_test id="t:3"><linux-def:object object_ref="o:2"/><linux-def:state state_ref="s:1"/>
</linux-def:rpminfo_test>
</tests><objects>
<linux-def:rpminfo_object id="o:1"><linux-def:name>openssl</linux-def:name></linux-def:rpminfo_object>
<linux-def:rpminfo_object id="o:2"><linux-def:name>vim</linux-def:name></linux-def:rpminfo_object>
</objects><states>
<linux-def:rpminfo_state id="s:1">
<linux-def:evr datatype="evr_string" operation="greater than">0:0.0.0-0.azl3</linux-def:evr></linux-def:rpminfo_state>
<linux-def:rpminfo_state id="s:2">
<linux-def:evr datatype="evr_string" operation="less than">0:1.1.1k-21.azl3</linux-def:evr></linux-def:rpminfo_state>
</states></oval_definitions>"""

TRACKED = b"""Candidate: CVE-2023-0286
PublicDate: 2023-02-08 20:15:00 UTC
References:
 https://www.cve.org/CVERecord?id=CVE-2023-0286
Description:
 There is a type confusion vulnerability relating to X.400 address processing
 inside an X.509 GeneralName.
Notes:
 mdeslaur> note_with: released (1)
Priority: high
Patches_openssl:
upstream_openssl: released (3.0.8)
jammy_openssl: released (3.0.2-0ubuntu1.8)
noble_openssl: not-affected (3.0.8-1ubuntu1)
kinetic_openssl: ignored (end of life, was needed)
esm-infra/xenial_openssl: released (1.0.2g-1ubuntu4.20+esm6)
trusty/esm_openssl: ignored (changes too intrusive)
jammy_nodejs: needs-triage
focal_nodejs: deferred (2023-03-01)
devel_openssl: not-affected (3.0.8-1ubuntu1)
bionic_edk2: DNE
"""


def notices() -> bytes:
    return json.dumps({"5844-1": {
        "id": "5844-1", "title": "OpenSSL vulnerabilities", "summary": "Several issues were fixed.",
        "timestamp": 1675777776.5, "cves": ["CVE-2023-0286", "https://launchpad.net/bugs/1"],
        "releases": {"jammy": {"sources": {"openssl": {"version": "3.0.2-0ubuntu1.8", "description": ""}},
                               "binaries": {"libssl3": {"version": "3.0.2-0ubuntu1.8"}}},
                     "xenial": {"sources": {"openssl": {"version": "1.0.2g-1ubuntu4.20+esm6"}}}}}}).encode()


def photon() -> bytes:
    return json.dumps([
        {"cve_id": "CVE-2020-11979", "pkg": "apache-ant", "cve_score": 7.5,
         "aff_ver": "all versions before 1.10.8-2.ph1 are vulnerable", "res_ver": "1.10.8-2.ph1"},
        {"cve_id": "CVE-2020-1945", "pkg": "apache-ant", "cve_score": 6.3, "aff_ver": "all versions", "res_ver": "NA"},
        {"cve_id": "CVE-2020-1946", "pkg": "spamassassin", "cve_score": 0, "aff_ver": "NA", "res_ver": "NA"}]).encode()


def nvd() -> bytes:
    return json.dumps({
        "resultsPerPage": 2, "startIndex": 0, "totalResults": 2, "format": "NVD_CVE", "version": "2.0",
        "timestamp": "2024-01-01T00:00:00.000", "vulnerabilities": [
            {"cve": {"id": "CVE-2023-44487", "sourceIdentifier": "cve@mitre.org",
                     "published": "2023-10-10T14:15:10.883",
                     "lastModified": "2024-06-27T18:34:22.110", "vulnStatus": "Analyzed",
                     "descriptions": [{"lang": "en", "value": "The HTTP/2 protocol allows a denial of service"}],
                     "metrics": {"cvssMetricV31": [
                         {"source": "x@y", "type": "Secondary", "cvssData": {
                             "vectorString": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:N/I:N/A:L"}},
                         {"source": "nvd@nist.gov", "type": "Primary", "cvssData": {
                             "vectorString": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:N/I:N/A:H"}}]},
                     "configurations": [{"operator": "AND", "nodes": [
                         {"operator": "OR", "negate": False, "cpeMatch": [
                             {"vulnerable": True, "criteria": "cpe:2.3:a:nodejs:node.js:*:*:*:*:lts:*:*:*",
                              "versionStartIncluding": "18.0.0", "versionEndExcluding": "18.18.2"},
                             {"vulnerable": True, "criteria": "cpe:2.3:a:nginx:nginx:1.9.5:rc1:*:*:*:*:*:*"}]},
                         {"operator": "OR", "negate": False, "cpeMatch": [
                             {"vulnerable": False, "criteria": "cpe:2.3:o:linux:linux_kernel:-:*:*:*:*:*:*:*"}]}]}]}},
            {"cve": {"id": "CVE-2023-0001", "sourceIdentifier": "x", "lastModified": "2024-01-01T00:00:00.000",
                     "vulnStatus": "Rejected", "descriptions": []}}]}).encode()


def csaf(publisher: str = "https://www.redhat.com", category: str = "csaf_vex") -> bytes:
    """Red Hat's, as of CVE-2023-20593: a fixed kernel, unfixed components, a module's stream, an image."""
    def version(name: str, purl: str = "") -> dict[str, Any]:
        helper = {"product_identification_helper": {"purl": purl}} if purl else {}
        return {"category": "product_version", "name": name, "product": {"name": name, "product_id": name, **helper}}

    def product(name: str, identifier: str, cpe: str) -> dict[str, Any]:
        return {"category": "product_family", "name": name, "branches": [
            {"category": "product_name", "name": name, "product": {
                "name": name, "product_id": identifier, "product_identification_helper": {"cpe": cpe}}}]}

    def within(reference: str, release: str) -> dict[str, Any]:
        return {"category": "default_component_of", "product_reference": reference,
                "relates_to_product_reference": release,
                "full_product_name": {"name": f"{reference} of {release}", "product_id": f"{release}:{reference}"}}

    stream = "nodejs:18:8080020230906102510:63b34585"
    return json.dumps({
        "document": {"category": category, "csaf_version": "2.0", "title": "hw: amd: Cross-Process Information Leak",
                     "aggregate_severity": {"text": "moderate"},
                     "publisher": {"category": "vendor", "name": "Product Security", "namespace": publisher},
                     "tracking": {"id": "CVE-2023-20593", "current_release_date": "2024-05-01T10:00:00+00:00",
                                  "initial_release_date": "2023-07-24T15:00:00+00:00"}},
        "product_tree": {
            "branches": [{"category": "vendor", "name": "Red Hat", "branches": [
                product("Red Hat Enterprise Linux 9", "BaseOS-9.2.0.Z.MAIN",
                        "cpe:/o:redhat:enterprise_linux:9::baseos"),
                product("Red Hat Enterprise Linux 8", "AppStream-8", "cpe:/a:redhat:enterprise_linux:8::appstream"),
                product("Red Hat Enterprise Linux 8", "red_hat_enterprise_linux_8", "cpe:/o:redhat:enterprise_linux:8"),
                product("RHEL 9 EUS", "BaseOS-9.0.0.Z.EUS", "cpe:/o:redhat:rhel_eus:9.0::baseos"),
                {"category": "architecture", "name": "src", "branches": [
                    version("kernel-0:5.14.0-284.25.1.el9_2.src",
                            "pkg:rpm/redhat/kernel@5.14.0-284.25.1.el9_2?arch=src"),
                    version("kernel-core-0:5.14.0-284.25.1.el9_2.x86_64",
                            "pkg:rpm/redhat/kernel-core@5.14.0-284.25.1.el9_2?arch=x86_64"),
                    version("kernel-core-0:5.14.0-70.64.1.el9_0.x86_64",
                            "pkg:rpm/redhat/kernel-core@5.14.0-70.64.1.el9_0?arch=x86_64"),
                    version("nodejs-1:18.17.1-1.module+el8.8.0.x86_64",
                            "pkg:rpm/redhat/nodejs@18.17.1-1.module%2Bel8.8.0?arch=x86_64&epoch=1")]},
                version(stream, "pkg:rpmmod/redhat/nodejs@18:8080020230906102510:63b34585"),
                version("kernel", "pkg:rpm/redhat/kernel?arch=src"),
                version("linux-firmware", "pkg:rpm/redhat/linux-firmware?arch=src"),
                version("microcode_ctl", "pkg:rpm/redhat/microcode_ctl?arch=src"),
                version("openshift/rhcos", "pkg:oci/rhcos@sha256:00")]}],
            "relationships": [
                within("kernel-0:5.14.0-284.25.1.el9_2.src", "BaseOS-9.2.0.Z.MAIN"),
                within("kernel-core-0:5.14.0-284.25.1.el9_2.x86_64", "BaseOS-9.2.0.Z.MAIN"),
                within("kernel-core-0:5.14.0-70.64.1.el9_0.x86_64", "BaseOS-9.0.0.Z.EUS"),
                within(stream, "AppStream-8"),
                within("nodejs-1:18.17.1-1.module+el8.8.0.x86_64", f"AppStream-8:{stream}"),
                within("kernel", "red_hat_enterprise_linux_8"), within("linux-firmware", "red_hat_enterprise_linux_8"),
                within("microcode_ctl", "red_hat_enterprise_linux_8"),
                within("openshift/rhcos", "red_hat_enterprise_linux_8")]},
        "vulnerabilities": [{
            "cve": "CVE-2023-20593",
            "product_status": {
                "fixed": ["BaseOS-9.2.0.Z.MAIN:kernel-0:5.14.0-284.25.1.el9_2.src",
                          "BaseOS-9.2.0.Z.MAIN:kernel-core-0:5.14.0-284.25.1.el9_2.x86_64",
                          "BaseOS-9.0.0.Z.EUS:kernel-core-0:5.14.0-70.64.1.el9_0.x86_64",
                          f"AppStream-8:{stream}:nodejs-1:18.17.1-1.module+el8.8.0.x86_64"],
                "known_affected": ["red_hat_enterprise_linux_8:kernel", "red_hat_enterprise_linux_8:openshift/rhcos"],
                "known_not_affected": ["red_hat_enterprise_linux_8:microcode_ctl"],
                "under_investigation": ["red_hat_enterprise_linux_8:linux-firmware"]},
            "flags": [{"label": "vulnerable_code_not_present",
                       "product_ids": ["red_hat_enterprise_linux_8:microcode_ctl"]}],
            "remediations": [{"category": "no_fix_planned", "details": "Will not fix",
                              "product_ids": ["red_hat_enterprise_linux_8:kernel"]}],
            "scores": [{"cvss_v3": {"vectorString": "CVSS:3.1/AV:L/AC:L/PR:L/UI:N/S:C/C:H/I:N/A:N"}, "products": []}],
            "threats": [{"category": "impact", "details": "Moderate", "product_ids": [
                "red_hat_enterprise_linux_8:kernel"]}]}]}).encode()


def suse() -> bytes:
    def within(reference: str, release: str) -> dict[str, Any]:
        return {"category": "default_component_of", "product_reference": reference,
                "relates_to_product_reference": release,
                "full_product_name": {"name": f"{reference} of {release}", "product_id": f"{release}:{reference}"}}

    package, releases = "libopenssl1_1-1.1.1l-150500.17.22.1.x86_64", (
        "SUSE Linux Enterprise Module for Basesystem 15 SP5", "openSUSE Leap 15.5", "SUSE Linux Enterprise Micro 5.5")
    return json.dumps({
        "document": {"category": "csaf_security_advisory", "csaf_version": "2.0",
                     "title": "Security update for openssl",
                     "aggregate_severity": {"text": "important"},
                     "publisher": {"category": "vendor", "namespace": "https://www.suse.com/"},
                     "tracking": {"id": "SUSE-SU-2023:4518-1", "current_release_date": "2023-11-21T16:03:03Z"}},
        "product_tree": {
            "branches": [{"category": "vendor", "name": "SUSE", "branches": [
                {"category": "product_name", "name": name, "product": {"name": name, "product_id": name}}
                for name in (*releases, package)]}],
            "relationships": [within(package, release) for release in releases]},
        "vulnerabilities": [{"cve": cve, "product_status": {"recommended": [f"{release}:{package}" for release in
                                                                           releases]}}
                            for cve in ("CVE-2023-5678", "CVE-2023-5679")]}).encode()
