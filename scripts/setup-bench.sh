#!/usr/bin/env bash
# Install what only the benchmark uses: wrk, the load generator.  Without it the benchmark runs, and reports the part that
# needs it as not measured.
set -uo pipefail
cd "$(dirname "$0")/.."

command -v wrk > /dev/null && exit 0

log=build/setup-bench.log
mkdir -p build
exec 9> build/setup-bench.lock
flock 9
command -v wrk > /dev/null && exit 0
: > "$log"

say() { printf 'setup-bench: %s\n' "$*"; }
as_root() { if [ "$(id -u)" = 0 ]; then env "$@" 9>&-; else sudo -n env "$@"; fi; }

if ! command -v apt-get > /dev/null; then
    say "apt-get not found: install wrk by hand, or 'GET pool' is not measured"
    exit 0
fi
say "installing wrk"
as_root LC_ALL=C apt-get -q update < /dev/null >> "$log" 2>&1 || say "apt-get update failed (see $log); continuing with the existing package lists"
as_root DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1 \
    apt-get -q -y -o DPkg::Lock::Timeout=300 install --no-install-recommends wrk < /dev/null >> "$log" 2>&1 ||
    say "cannot install wrk (see $log): 'GET pool' is not measured"
