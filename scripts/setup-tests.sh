#!/usr/bin/env bash
# Fetch what only tests use: a browser, certutil, curl, Node.js, strace, iproute2, rsyslog, promtool, the JDBC driver, etcdctl,
# Knot DNS, the sources of godo.
#
# Chromium, certutil, curl, Node.js, strace and iproute2 are installed.  rsyslog, Prometheus and Knot DNS would start as
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
mapfile -t libraries < <({ depends rsyslog rsyslog-gnutls rsyslog-openssl knot; depends "${knot[@]}"; } | sort -u)
mapfile -t libraries < <(lacking "${libraries[@]}")
for package in "${unpacked[@]}" "${libraries[@]}"; do
    say "unpacking $package"
    part=$folder/$package.part
    rm -rf "$part"
    mkdir "$part"
    if (cd "$part" && apt-get -q download "$package") < /dev/null >> "$log" 2>&1 &&
        dpkg-deb -x "$part"/*.deb "$part/root" >> "$log" 2>&1; then
        cp -a "$part/root/." "$folder/"
    else
        say "cannot download $package (see $log): the tests that need it are skipped"
    fi
    rm -rf "$part"
done
inputs > "$stamp"
