#!/usr/bin/env bash
# Fetch what only tests use: a browser, certutil, curl, Node.js, strace, iproute2, rsyslog, promtool, the JDBC driver, etcdctl,
# Knot DNS, the sources of godo, sshd, and of Debian's next release pgBackRest.
#
# Chromium, certutil, curl, Node.js, strace and iproute2 are installed.  rsyslog, Prometheus, Knot DNS and sshd would start as
# services on the machine of whoever runs the tests, so their packages are unpacked below build/programs only.  What cannot
# be had is told of; the tests that need it are skipped, with the reason.
set -uo pipefail
cd "$(dirname "$0")/.."
umask 022

folder=build/programs
stamp=$folder/stamp
log=build/setup-tests.log
installed=(chromium curl iproute2 libnss3-tools nodejs npm strace)
unpacked=(prometheus rsyslog rsyslog-gnutls rsyslog-openssl libpostgresql-jdbc-java etcd-client knot)
unpacked+=(openssh-server openssh-sftp-server openssh-client)
# godo, and what it is made with in this release of Debian or a later one.
unpacked+=(golang-github-digitalocean-godo-dev golang-github-google-go-querystring-dev golang-golang-x-oauth2-dev)
unpacked+=(golang-golang-x-net-dev golang-golang-x-time-dev golang-github-hashicorp-go-retryablehttp-dev)
unpacked+=(golang-github-hashicorp-go-cleanhttp-dev)

inputs() { { echo "$PWD"; cat scripts/setup-tests.sh; } | sha256sum; }
[ "$(cat "$stamp" 2> /dev/null)" = "$(inputs)" ] && exit 0

mkdir -p "$folder"
exec 9> build/setup-tests.lock
flock 9
[ "$(cat "$stamp" 2> /dev/null)" = "$(inputs)" ] && exit 0
: > "$log"

say() { printf 'setup-tests: %s\n' "$*"; }
as_root() { if [ "$(id -u)" = 0 ]; then env "$@" 9>&-; else sudo -n env "$@"; fi; }
lacking() {
    local package
    for package in "$@"; do
        [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2> /dev/null)" = installed ] || echo "$package"
    done
}

if ! command -v apt-get > /dev/null || ! command -v dpkg-deb > /dev/null; then
    say "apt-get not found: tests that need ${installed[*]}, rsyslog, promtool or knotd are skipped"
    exit 0
fi
missing=()
command -v chromium > /dev/null || missing+=(chromium)
command -v certutil > /dev/null || missing+=(libnss3-tools)
command -v curl > /dev/null || missing+=(curl)
command -v strace > /dev/null || missing+=(strace)
command -v ip > /dev/null || missing+=(iproute2)
# A Node.js from elsewhere brings its own npm.
command -v node > /dev/null || missing+=(nodejs)
command -v npm > /dev/null || missing+=(npm)
mapfile -t missing < <(lacking "${missing[@]}")
as_root LC_ALL=C apt-get -q update < /dev/null >> "$log" 2>&1 || say "apt-get update failed (see $log); continuing with the existing package lists"
if [ ${#missing[@]} -gt 0 ]; then
    say "installing ${missing[*]}"
    as_root DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1 \
        apt-get -q -y -o DPkg::Lock::Timeout=300 install --no-install-recommends "${missing[@]}" < /dev/null >> "$log" 2>&1 ||
        say "cannot install ${missing[*]} (see $log): the tests that need them are skipped"
fi
# What rsyslog and Knot DNS load and this machine lacks; the names differ between releases.
depends() { apt-cache depends "$@" | sed -n 's/^ *Depends: \(lib[^ ]*\)$/\1/p' | sort -u; }
mapfile -t knot < <(depends knot)
mapfile -t libraries < <({ depends rsyslog rsyslog-gnutls rsyslog-openssl openssh-server knot; depends "${knot[@]}"; } | sort -u)
mapfile -t libraries < <(lacking "${libraries[@]}")
# Unpack packages into a folder.
unpack() {
    local into=$1 package part
    shift
    mkdir -p "$into"
    for package in "$@"; do
        say "unpacking $package"
        part=$folder/$package.part
        rm -rf "$part"
        mkdir "$part"
        if (cd "$part" && apt-get -q download "$package") < /dev/null >> "$log" 2>&1 &&
            dpkg-deb -x "$part"/*.deb "$part/root" >> "$log" 2>&1; then
            cp -a "$part/root/." "$into/"
        else
            say "cannot download $package (see $log): the tests that need it are skipped"
        fi
        rm -rf "$part"
    done
}
unpack "$folder" "${unpacked[@]}" "${libraries[@]}"

# pgBackRest of Debian 13 runs on Debian 12 as it is, and has what that of Debian 12 lacks: SFTP, PostgreSQL 16 and newer.
# The mirror is the one that the system's packages come from; the system's own lists and sources stay as they are.
next=trixie
mirror=$(apt-get indextargets --format '$(REPO_URI) $(ORIGIN) $(LABEL)' 'Created-By: Packages' 2>> "$log" |
    sed -n 's/ Debian Debian$//p' | sed q)
keys=/usr/share/keyrings/debian-archive-keyring.gpg
if dpkg --compare-versions "$(dpkg-query -W -f '${Version}' pgbackrest 2> /dev/null)" ge 2.52; then
    :
elif [ -z "$mirror" ] || [ ! -e "$keys" ]; then
    say "this is no Debian: without a newer pgBackRest, the tests of SFTP are skipped"
else
    apt=$PWD/build/apt-$next
    mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial"
    echo "deb [signed-by=$keys] $mirror $next main" > "$apt/sources.list"
    cat > "$apt/apt.conf" << END
Dir::Etc::SourceList "$apt/sources.list";
Dir::Etc::SourceParts "-";
Dir::State::Lists "$apt/lists";
Dir::Cache "$apt/cache";
END
    if APT_CONFIG=$apt/apt.conf apt-get -q update < /dev/null >> "$log" 2>&1; then
        APT_CONFIG=$apt/apt.conf unpack "$folder/$next" pgbackrest
    else
        say "the packages of Debian $next cannot be had (see $log): the tests of SFTP are skipped"
    fi
    rm -rf "$apt"
fi
# A second major version of PostgreSQL, for upgrades from one to the other.
scripts/unpack-postgresql.sh "$folder/postgresql-17" || true
inputs > "$stamp"
