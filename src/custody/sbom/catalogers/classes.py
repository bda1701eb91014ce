"""The programs and libraries that are known by a version string: one row each, tried on real ones.

`tests/contents/versionstrings.tsv` has pieces of real programs, the version that their publisher gave them, and what
syft says of them.
"""

from __future__ import annotations

from custody.sbom.catalogers.versionstring import Class, Classes, say

_PRE = rb"(?:(?:-?(?:alpha|beta|rc|a|b)\.?)[0-9]{1,3})?"
_SO = r"\.so[.0-9]*"
_MINOR = r"([23]\.[0-9]{1,2})"
_PHP = (say("X-Powered-By: PHP/", rb"X-Powered-By: PHP/(<V>(?:(?:alpha|beta|RC)[0-9]{1,2})?)"),)
_PYTHON = (say("\0<N>.", rb"\x00(<N>\.[0-9]{1,3}(?:(?:a|b|rc)[0-9]{1,2})?\+?)\x00"),
           say("%.80s (%.80s) %.80s", rb"\x00([23]\.[0-9]{1,2}\.[0-9]{1,3}(?:(?:a|b|rc)[0-9]{1,2})?\+?)\x00"
                                      rb"%\.80s \(%\.80s\) %\.80s"))
_RUBY = (say("ruby ", rb"\x00ruby (<V>(?:(?:preview|rc|dev)[0-9]{0,2})?)(?:p[0-9]{1,4})? \([0-9]{4}-"),)
_BUILT = rb"(<W>)(?:-[a-z]{1,20}[0-9]{0,3})?"
_MYSQL = ("oracle:mysql",)
_MARIADB = (say("-MariaDB", rb"(<V>)-MariaDB"), say("/mariadb-", rb"/mariadb-(<V>)-"))
_BEATS = (say("Test ", rb"Test (<V>)[a-z%]"), say("plugin", rb"plugin(?:output)?(<V>)[-a-z]"),
          say("5m.rate", rb"5m\.rate(<V>)-"))
_FFMPEG = (say("FFmpeg version ", rb"FFmpeg version n?(<W>)"),
           say("%sbuilt with ", rb"%s version n?(<W>)[^\x00]{0,80}\x00.{0,100}%sbuilt with"),
           say("%s version %s\0", rb"\x00n?(<W>)[^\x00]{0,40}\x00%s version %s\x00"))
_ERLANG = (say("/erts/", rb"/(?:otp_src_|otp-|erlang-)(<W>(?:-rc[0-9])?)(?:\+dfsg)?/erts/"),
           say("Erlang/OTP", rb"\x00(<W>)<0>Erlang/OTP"),
           say("[async-threads:", rb"\[async-threads:[^\x00]{0,80}\x00{1,16}(<W>)\x00"))
_ID = rb"(?<![0-9.])([0-9]{1,2}\.[0-9]{1,2}\.[0-9]{1,2})"
_BUILD_ID = (
    say("-builtin\0", rb"\x00(<V>)\x00(?:[0-9.]{5,8}\x00)?(?:c11|atomic|sync)-builtin\x00"),
    say("000000000\0", _ID + rb"(?:(?:[0-9a-z]{12}|[A-Za-z][0-9A-Za-z_.-]{0,63})-)?1[0-9]{9}000000000\x00"))
"""Redis and its fork: what it was compiled with, else version, name of the machine and time in one."""
_CLUSTER = (say("/mysql-cluster-gpl-", rb"/mysql-cluster-gpl-(<V>)"),)

CLASSES = Classes((
    # Interpreters and runtimes
    Class("node", rf"node(?:js)?|libnode{_SO}", (
        say("node.js/v", rb"node\.js/v(<V>)"),
        say("/download/release/v", rb"/download/release/v(<V>)/node-v"),
        say("node v", rb"\x00node v([0-9]\.[0-9]{1,3}\.[0-9]{1,3})\x00"),
        say("\0v", rb"\x00v([0-9]\.[0-9]{1,3}\.[0-9]{1,3})\x00")), ("nodejs:node.js",)),
    Class("python", rf"python(?:{_MINOR}|[23]?)[dmtu]{{0,3}}|libpython{_MINOR}[dmtu]{{0,3}}{_SO}",
          _PYTHON, ("python:python",)),
    Class("pypy", rf"libpypy.*{_SO}|pypy[0-9.]*", (say("[PyPy ", rb"\[PyPy (<V>)"),), ("pypy:pypy",)),
    Class("ruby", rf"ruby[0-9.]*|libruby.*{_SO}[.0-9]*", _RUBY, ("ruby-lang:ruby",)),
    Class("perl", rf"perl(?:[0-9]\.[0-9.]+)?|libperl{_SO}", (
        say("/perl", rb"/lib/perl5?/(5\.[0-9]{1,2}\.[0-9]{1,2})"),
        say("/share/perl/", rb"/share/perl/(5\.[0-9]{1,2}\.[0-9]{1,2})"),
        say("\0v5.", rb"\x00v(5\.[0-9]{1,2}\.[0-9]{1,2})\x00")), ("perl:perl",)),
    Class("php-cli", r"php[0-9.]*", _PHP, ("php:php",)),
    Class("php-fpm", r"php-fpm[0-9.]*", _PHP, ("php:php",)),
    Class("php-cgi", r"php-cgi[0-9.]*", _PHP, ("php:php",)),
    Class("php", rf"libphp[0-9.]*{_SO}", _PHP, ("php:php",)),
    Class("php-{}", r"([a-z0-9_]+)\.so", (say("API20", rb"\x00(<V>)<0>API20[0-9]{6},N?TS"),),
          folder=r"php[^/]*(?:/.*)?"),
    Class("julia", rf"libjulia(?:-internal)?{_SO}", (
        say("julia version", rb"\x00(<V>(?:-(?:alpha|beta|rc)[0-9]{1,2})?)\x00julia version"),
        say("\0branch\0", rb"\x00(<V>(?:-(?:alpha|beta|rc)[0-9]{1,2})?)\x00branch\x00"),
        say("verify_methods", rb"\x00(<V>(?:-(?:alpha|beta|rc)[0-9]{1,2})?)\x00(?:verify_methods|BigInt)")),
          ("julialang:julia",)),
    Class("erlang", r"erlexec|beam\.smp|beam", _ERLANG, ("erlang:erlang/otp",)),
    Class("swipl", rf"swipl|libswipl{_SO}", (
        say("swipl-", rb"swipl-(<V>)/"), say("swi-prolog-", rb"swi-prolog-(<V>)[+/]")), ("swi-prolog:swi-prolog",)),
    Class("dart", r"dart", (say(" (stable)", rb"\x00(<V>) \(stable\)"), say(" (beta)", rb"\x00(<V>-[0-9.]+\.beta) ")),
          ("dart:dart_software_development_kit",)),
    Class("deno", r"deno", (
        say("Deno/", rb"Deno/(<V>)(?:\+[0-9a-f]{7})?(?:Deno/|cli/)"), say("denover", rb"denover(<V>)"),
        say("deno/", rb"[dD]eno/(<V>)"), say("release/v", rb"deno-[0-9a-z]{40}release/v(<V>)"),
        say("deno-", rb"deno-(?:canary/)?[0-9a-f]{40}(<V>)"), say("DENO_", rb"(<V>)[0-9a-f]{40}DENO_")),
          ("deno:deno",)),
    Class("bun", r"bun", (say("un v", rb"[Bb]un v(<V>)"), say("bun-v", rb"bun-v(<V>)"), say("bun/", rb"[Bb]un/(<V>)")),
          ("oven-sh:bun",)),
    Class("lua", rf"lua[0-9.]*|luac[0-9.]*|liblua[0-9.]*{_SO}[.0-9]*", (
        say("$LuaVersion: Lua ", rb"\$LuaVersion: Lua (<W>)"),), ("lua:lua",)),
    Class("mono", r"mono|mono-sgen[0-9]*", (say("--version=number", rb"--version=number\x00(<W>)\x00"),),
          ("mono-project:mono",)),
    Class("rust", r"libstd-[0-9a-f]{16}\.(?:so|dylib)", (
        say("rustc version ", rb"rustc version (<V>) \("), say("/rustc-", rb"/rustc-(<V>)[-/]"),
        say("c 1.", rb"c (1\.[0-9]{1,3}\.[0-9]{1,2}) \([0-9a-f]{9} ")), ("rust-lang:rust",)),
    Class("gcc", r"(?:[a-z0-9_]+-linux-(?:gnu|musl)[a-z0-9]*-)?(?:gcc|g\+\+|cc1)(?:-[0-9.]+)?", (
        say("GCC: (GNU) ", rb"GCC: \(GNU\) (<V>)"), say("gcc version %s",
          rb"\x00(<V>)\x00[^\x00]{0,60}\x00gcc version %s"),
        say("--with-pkgversion=", rb"--with-pkgversion='[A-Za-z]+ (<V>)")), ("gnu:gcc",)),
    Class("haskell/ghc", r"ghc(?:-[0-9.]+)?", (
        say("libHSghc-", rb"libHSghc-(<V>)-(?:[0-9A-Za-z]+-)?ghc"), say("GHC ", rb"\x00GHC (<V>)\x00")),
          ("haskell:ghc",)),
    Class("haskell/cabal", r"cabal", (say("cabal-install-", rb"cabal-install-(<W>)[-\x00]"),
                                      say("Cabal-", rb"\x00Cabal-(<W>)-")), ("haskell:cabal",)),
    Class("haskell/stack", r"stack", (say("Version ", rb"Version (<V>), Git"), say("/stack-", rb"/stack-(<V>)[-\x00]")),
          ("haskell:stack",)),
    # Servers
    Class("nginx", r"nginx(?:-debug)?", (say("nginx version: ", rb"nginx version: [a-z]+/(<V>)"),
                                         say("nginx/", rb"\x00nginx/(<V>)\x00")), ("f5:nginx", "nginx:nginx")),
    Class("httpd", r"httpd|apache2", (say("Apache/", rb"Apache/(<V>)"),), ("apache:http_server",)),
    Class("redis", r"redis-(?:server|check-rdb|check-aof|sentinel|cli|benchmark)", (
        *_BUILD_ID, say("Redis version ", rb"Redis version (<V>)"), say(" (git:%s", rb"\x00(<V>)\x00 \(git:%s")),
          ("redis:redis",), without=b"valkey"),
    Class("valkey", r"valkey-(?:server|check-rdb|check-aof|sentinel|cli|benchmark)", (
        *_BUILD_ID, say(" (git:%s", rb"\x00(<V>)\x00 \(git:%s")), ("lfprojects:valkey",)),
    Class("postgresql", r"postgres|pg_ctl|psql|initdb|pg_dump", (
        say("(PostgreSQL) ", rb"\(PostgreSQL\) ([0-9]{1,2}(?:\.[0-9]{1,2}){0,2}(?:alpha|beta|rc)?[0-9]{0,2})"),
        say("PostgreSQL ", rb"(?:\x00|\?)PostgreSQL ([0-9]{1,2}(?:\.[0-9]{1,2}){0,2}(?:alpha|beta|rc)?[0-9]{0,2}) ")),
          ("postgresql:postgresql",)),
    Class("mysql", r"mysql", (
        say("/mysql-", rb"/mysql-(<V>)(?:-rc)?/"), say("mysql", rb"\x00(<V>)<0>mysql")), _MYSQL, without=b"MariaDB"),
    Class("mysql-server", r"mysqld(?:-debug)?", (say("/mysql-", rb"/mysql-(<V>)(?:-rc)?/"),
                                                 say("cluster-gpl\0", rb"cluster-gpl\x00(<V>)-ndb-")),
          (*_MYSQL, "oracle:mysql_server"), without=b"MariaDB"),
    Class("mysql-cluster", r"ndbd|ndbmtd|ndb_mgmd", _CLUSTER, ("oracle:mysql_cluster",)),
    Class("percona-server", r"mysqld?", (say("/percona-server-", rb"/percona-server-(<V>)"),),
          ("percona:percona_server",)),
    Class("percona-xtrabackup", r"xtrabackup", (say("/percona-xtrabackup-", rb"/percona-xtrabackup-(<V>)"),),
          ("percona:xtrabackup",)),
    Class("mariadb", r"(?:mariadb|mysql)(?:d|admin|-admin|-dump|dump)?", _MARIADB, ("mariadb:mariadb",)),
    Class("mongodb", r"mongod|mongos", (say("\0tcmalloc", rb"(<V>)\x00tcmalloc"),
                                        say("heap_size", rb"\x00(<V>)<0>heap_size"),
                                        say("cppdefines", rb"\x00(<V>)<0>cppdefines")), ("mongodb:mongodb",)),
    Class("haproxy", r"haproxy", (
        say(", released 20", rb"version ([0-9]\.[0-9]{1,2}(?:\.|-dev|-rc)[0-9]{1,3})[^\x00]{0,40}, released 20"),
        say("HA-Proxy version ", rb"HA-Proxy version ([0-9]\.[0-9]{1,2}(?:\.|-dev)[0-9]{1,3})")), ("haproxy:haproxy",)),
    Class("memcached", r"memcached", (say("memcached ", rb"memcached (<V>)"),), ("memcached:memcached",)),
    Class("envoy", r"envoy", (
        say("removed_resources\0", rb"removed_resources\x00(1\.[0-9]{2}\.[0-9]{1,2}(?:-dev)?)\x00"),
        say("\0RELEASE", rb"\x00(1\.[0-9]{1,2}\.[0-9]{1,2}(?:-dev)?)\x00[^\x00]{0,20}RELEASE"),
        say("\0envoy", rb"\x00(1\.[0-9]{2}\.[0-9]{1,2}(?:-dev)?)\x00envoy[/._:]")), ("envoyproxy:envoy",)),
    Class("lighttpd", r"lighttpd", (say("lighttpd/", rb"lighttpd/(<V>)"),), ("lighttpd:lighttpd",)),
    Class("proftpd", r"proftpd", (say("ProFTPD Version ", rb"ProFTPD Version (<V>[a-z]?)"),), ("proftpd:proftpd",)),
    Class("vsftpd", r"vsftpd", (say("vsFTPd ", rb"vsFTPd (<V>)"),), ("vsftpd_project:vsftpd",)),
    Class("squid", r"squid", (say("squid/", rb"\x00squid/(<W>)"),), ("squid-cache:squid",)),
    Class("varnish", r"varnishd", (say("(varnish-", rb"\(varnish-(<V>) revision"),),
          ("varnish-software:varnish_cache",)),
    Class("unbound", r"unbound", (say("unbound ", rb"\x00unbound (<V>)\x00"),), ("nlnetlabs:unbound",)),
    Class("bind", r"named", (say("libisc-9.", rb"libisc-(9\.[0-9]{1,2}\.[0-9]{1,2})[-.]"),
                             say("BIND 9", rb"BIND (9\.[0-9]{1,2}\.[0-9]{1,2})[ -]")), ("isc:bind",)),
    Class("nsd", r"nsd", (say("NSD ", rb"\x00NSD (<V>)\x00"),), ("nlnetlabs:name_server_daemon",)),
    Class("knot-dns", r"knotd", (say("Knot DNS ", rb"Knot DNS (<V>)"),), ("nic:knot_dns",)),
    Class("openssh", r"sshd?|sshd-session", (say("OpenSSH_",
          rb"\x00OpenSSH_([0-9]{1,2}\.[0-9]{1,2}(?:\.[0-9])?p[0-9])[\x00 ]"),),
          ("openbsd:openssh",)),
    Class("dropbear", r"dropbear(?:multi)?|dbclient", (say("SSH-2.0-dropbear_",
          rb"dropbear_(20[0-9]{2}\.[0-9]{1,3})"),),
          ("dropbear_ssh_project:dropbear_ssh",)),
    Class("openvpn", r"openvpn", (say("OpenVPN ", rb"\x00OpenVPN (<V>) "),), ("openvpn:openvpn",)),
    Class("stunnel", r"stunnel[0-9]?", (say("stunnel/", rb"Server: stunnel/(<W>)"),), ("stunnel:stunnel",)),
    Class("postfix", r"postfix", (
        say("mail_version=", rb"mail_version=(<V>)"),
        say("-c requires absolute pathname", rb"\x00(<V>)\x00-c requires absolute pathname")), ("postfix:postfix",)),
    Class("exim", r"exim[0-9]?", (say("<<eximversion>>", rb"<<eximcnumber>>\x00(<W>)\x00<<eximversion>>"),),
          ("exim:exim",)),
    Class("dovecot", r"dovecot", (say("Dovecot v", rb"Dovecot v(<W>)"),), ("dovecot:dovecot",)),
    Class("tor", r"tor", (say("(on Tor ", rb"\(on Tor (<W>) "),), ("torproject:tor",)),
    Class("privoxy", r"privoxy", (say("Privoxy version ", rb"Privoxy version (<V>)"),), ("privoxy:privoxy",)),
    Class("keepalived", r"keepalived", (say("Keepalived v", rb"Keepalived v(<V>)"),), ("keepalived:keepalived",)),
    Class("pgbouncer", r"pgbouncer", (say("PgBouncer ", rb"PgBouncer (<V>)"),), ("pgbouncer:pgbouncer",)),
    Class("freeradius", r"freeradius|radiusd", (say("FreeRADIUS Version ", rb"FreeRADIUS Version (<V>)"),),
          ("freeradius:freeradius",)),
    Class("coturn", r"turnserver", (say("Coturn-", rb"Coturn-(<V>)"),), ("coturn_project:coturn",)),
    Class("mosquitto", r"mosquitto", (say("mosquitto version %s", rb"\x00(<V>)\x00mosquitto version %s"),),
          ("eclipse:mosquitto",)),
    Class("fluent-bit", r"fluent-bit", (
        say("Fluent Bit", rb"\x00(<V>)\x00{1,3}(?:\x1b\[1m\x00)?(?:%s)?Fluent Bit"),), ("treasuredata:fluent_bit",)),
    Class("arangodb", r"arangosh|arangod", (say("[linux]", rb"(<V>(?:-[0-9]+)?) (?:enterprise )?\[linux\]"),),
          ("arangodb:arangodb",)),
    Class("krb5", rf"libkrb5{_SO}", (say("KRB5_BRAND: ", rb"KRB5_BRAND: krb5-[^ ]{1,40} (<W>)"),), ("mit:kerberos_5",)),
    Class("heimdal-krb5", rf"libkrb5{_SO}", (say("$Version: Heimdal ", rb"\$Version: Heimdal (<W>)"),),
          ("heimdal_project:heimdal",)),
    # Tools
    Class("busybox", r"busybox.*|\[", (say("BusyBox v", rb"BusyBox v(<V>)"),), ("busybox:busybox",)),
    Class("bash", r"bash|rbash", (say("@(#)Bash version ", rb"@\(#\)Bash version (<V>)\("),), ("gnu:bash",)),
    Class("curl", r"curl", (say("curl/", rb"curl/(<V>)"),), ("haxx:curl",)),
    Class("git", r"git", (say("git/", rb"git/(<V>)"),), ("git-scm:git",)),
    Class("gawk", r"gawk(?:-[0-9.]+)?", (say("GNU Awk ", rb"GNU Awk (<V>)"),), ("gnu:gawk",)),
    Class("gnupg", r"gpg2?", (say("OpenPGP server ", rb"OpenPGP server (<V>) ready"),), ("gnupg:gnupg",)),
    Class("wget", r"wget2?", (say("/wget-", rb"/wget-(<W>)[=/]"), say("-Wall\0", rb"-Wall\x00(<W>)\x00")),
          ("gnu:wget",)),
    Class("sqlite", r"sqlite3", (
        say("%s (%d-bit)", rb"\x00(3\.[0-9]{1,2}\.[0-9]{1,2})\x00"),
        say("Copyright", rb"\x00(3\.[0-9]{1,2}\.[0-9]{1,2})\x00")), ("sqlite:sqlite",)),
    Class("sqlcipher", r"sqlcipher", (
        say("\0community\0", rb"\x00community\x00(<V>)\x00"), say(" community\0", rb"\x00(<V>) community\x00")),
          ("zetetic:sqlcipher",)),
    Class("jq", r"jq", (say("jq-", rb"\x00jq-([0-9]\.[0-9]{1,2}(?:\.[0-9]{1,2})?(?:rc[0-9])?)\x00"),
                        say("writing output failed", rb"writing output failed[^\x00]{0,20}\x00(<W>)[^\x00]{0,20}\x00"),
                        say("\0version\0jq-", rb"\x00(<W>(?:rc[0-9])?)\x00version\x00jq-"),
                        say("/jq-", rb"/jq-(<W>)=")), ("jqlang:jq",)),
    Class("xz", rf"xz|liblzma{_SO}", (say("xz (XZ Utils) ", rb"\(XZ Utils\) (<V>(?:alpha|beta)?)"),
                                   say("\0" + "5.", rb"\x00(5\.[0-9]\.[0-9]{1,2}(?:alpha|beta)?)\x00")),
          ("tukaani:xz",)),
    Class("zstd", r"zstd(?:mt)?|pzstd", (say("Zstandard CLI", rb"\x00v(<V>)\x00Zstandard CLI"),
                                   say("\0v1.", rb"\x00v(1\.[0-9]{1,2}\.[0-9]{1,2})\x00")), ("facebook:zstandard",)),
    Class("gzip", r"gzip", (
        say("file size changed while zipping", rb"zipping\n?\x00{1,8}([0-9]\.[0-9]{1,2})\x00"),
        say("%5.1f%%\0", rb"%5\.1f%%\x00([0-9]\.[0-9]{1,2})\x00")),
          ("gnu:gzip",)),
    Class("tar", r"tar", (say("Missing record terminator",
          rb"Missing record terminator\x00[^\x00]{0,40}\x00([0-9]\.[0-9]{1,2})\x00"),),
          ("gnu:tar",)),
    Class("rsync", r"rsync", (
        say("\0copyright\0", rb"\x00([0-9]\.[0-9]{1,2}\.[0-9]{1,2})\x00copyright\x00"),
        say("%d-bit files", rb"\x00([0-9]\.[0-9]{1,2}\.[0-9]{1,2})\x00%d-bit files")),
          ("samba:rsync",)),
    Class("sudo", r"sudo", (say("Sudo version %s", rb"Sudo version %s\n?\x00(<V>(?:p[0-9]{1,2})?)\x00"),),
          ("sudo_project:sudo",)),
    Class("util-linux", r"getopt|mount|lsblk", (say("util-linux ", rb"util-linux (<W>)\x00"),), ("kernel:util-linux",)),
    Class("ffmpeg", rf"ffmpeg|ffprobe|ffplay|libav(?:codec|format|util|filter|device){_SO}|libswresample{_SO}",
          _FFMPEG, ("ffmpeg:ffmpeg",)),
    Class("openldap", r"ldapsearch|slapd", (say("$OpenLDAP: ", rb"\$OpenLDAP: [a-z]+ (<V>)"),), ("openldap:openldap",)),
    Class("chrome", r"chrome|chromium", (
        say("\0chrome\0", rb"\x00([0-9]{2,3}\.[0-9]\.[0-9]{4,5}\.[0-9]{1,3})\x00chrome\x00"),
        say("\0Default", rb"\x00([0-9]{2,3}\.[0-9]\.[0-9]{4,5}\.[0-9]{1,3})\x00Default"),),
          ("google:chrome",)),
    # Libraries, and what they are the program of
    Class("openssl", rf"openssl|libcrypto{_SO}|libssl{_SO}", (
        say("OpenSSL ", rb"\x00OpenSSL ([0-9]\.[0-9]\.[0-9]{1,2}(?:[a-z]{1,2}|-(?:alpha|beta|rc)[0-9]{1,2})?) ?"
                        rb"[^\x00]{0,20}[0-9]{1,2} [A-Z][a-z]{2} 20[0-9]{2}"),),
          ("openssl:openssl",), without=b"AWS-LC"),
    Class("aws-lc", rf"openssl|bssl|libcrypto{_SO}", (say("AWS-LC ", rb"AWS-LC (<V>)\)\x00"),),
          ("amazon:aws_libcrypto",)),
    Class("libcurl", rf"libcurl(?:-gnutls|-nss)?{_SO}", (say("libcurl/", rb"libcurl/(<V>)"),
                                                             say("CLIENT libcurl ", rb"CLIENT libcurl (<V>)")),
          ("haxx:libcurl",)),
    Class("sqlite", rf"libsqlite3{_SO}", (
        say("\0" + "3.", rb"\x00(3\.[0-9]{1,2}\.[0-9]{1,2})\x00"),
        say("\xff3.", rb"\xff(3\.[0-9]{1,2}\.[0-9]{1,2})\x00")), ("sqlite:sqlite",)),
    Class("zlib", rf"libz{_SO}", (say(" deflate 1.", rb" deflate (<W>) Copyright"),), ("zlib:zlib",)),
    Class("expat", rf"libexpat{_SO}", (say("expat_", rb"\x00expat_(<V>)\x00"),), ("libexpat_project:libexpat",)),
    Class("libpng", rf"libpng[0-9]*{_SO}", (say("libpng version ", rb"libpng version (<V>)"),), ("libpng:libpng",)),
    Class("libtiff", rf"libtiff{_SO}", (say("LIBTIFF, Version ", rb"LIBTIFF, Version (<V>)"),), ("libtiff:libtiff",)),
    Class("libarchive", rf"libarchive{_SO}", (say("libarchive ", rb"\x00libarchive (<V>)"),),
          ("libarchive:libarchive",)),
    Class("libgcrypt", rf"libgcrypt{_SO}", (say("This is Libgcrypt ", rb"This is Libgcrypt (<V>)"),),
          ("gnupg:libgcrypt",)),
    Class("gnutls", rf"libgnutls{_SO}", (say("Enabled GnuTLS ", rb"Enabled GnuTLS (<V>)"),), ("gnu:gnutls",)),
    Class("mbedtls", rf"libmbed(?:crypto|tls){_SO}", (say("bed TLS ", rb"\x00[mM]bed TLS (<V>)\x00"),),
          ("arm:mbed_tls",)),
    Class("glibc", r"libc\.so\.6|libc-[0-9.]+\.so", (say("GNU C Library ",
          rb"GNU C Library \([^\x00]{1,60}?(<W>)[-)+]"),
                                               say("stable release version ", rb"stable release version (<W>)[,.]")),
          ("gnu:glibc",)),
    Class("musl", r"ld-musl-[a-z0-9_]+\.so\.1|libc\.so|libc\.musl.*", (
        say("\1\2\4\7\3\6\5\0", rb"\x07\x03\x06\x05\x00(1\.[0-9]\.[0-9]{1,2})\x00"),
        say("/proc/self/fd/", rb"\x00(1\.[0-9]\.[0-9]{1,2})\x00")),
          ("musl-libc:musl",)),
    Class("qtbase", rf"libQt[456]?Core{_SO}", (say("Qt ", rb"\x00Qt (<V>) \("),
                                        say("QtCore library version ", rb"QtCore library version (<V>)")), ("qt:qt",)),
    # Elastic's and others in Go, whose build information has no version of the program itself
    *(Class(name, name, _BEATS, (f"elastic:{name}",))
      for name in ("filebeat", "metricbeat", "heartbeat", "packetbeat", "auditbeat")),
    Class("elastic-agent", r"elastic-agent", (say("enroll", rb"enroll(?:: true)?(<V>)-?header"),),
          ("elastic:elastic_agent",)),
))
