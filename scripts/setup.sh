#!/usr/bin/env bash
# Set up everything that Cenote needs on this machine: system packages, PgBouncer, and the environment in .venv.
#
# It may be run again at any time, and twice at once; what is there already is left alone.  The last run's inputs and
# the programs that it found stand in .venv/setup-stamp: while both hold, there is nothing to do.
set -euo pipefail
cd "$(dirname "$0")/.."
umask 022  # packages make folders by it, and servers run as another user when we are root

stamp=.venv/setup-stamp
log=build/setup.log

# --- nothing to do? ---------------------------------------------------------------------------------------------------

# Line 1 of the stamp is a hash of the inputs, line 2 the Python, then come the programs.
stamped() { sed -n "$1p" "$stamp" 2> /dev/null || true; }

# The folder belongs to the inputs, since editable installs and the environment's scripts hold its full path; the user
# does, since each has programs of their own.
inputs() {
    { echo "$PWD $(id -u)"; cat constraints.txt pyproject.toml packages/*/pyproject.toml scripts/*.sh; } | sha256sum
}

up_to_date() {
    local program
    [ -x .venv/bin/python ] && [ "$(stamped 1)" = "$(inputs)" ] && [ "$(stamped 2)" = "$python" ] || return 1
    while read -r program; do [ -x "$program" ] || return 1; done < <(stamped '3,$')
}

# Who chose a Python once need not name it each time.
python=${PYTHON:-$(stamped 2)}
python=${python:-python3}

if up_to_date; then exit 0; fi

mkdir -p build
exec 9> build/setup.lock
flock 9
if up_to_date; then exit 0; fi
: > "$log"

# --- words ------------------------------------------------------------------------------------------------------------

say() { printf 'setup: %s\n' "$*"; }

fail() {
    printf 'setup: %s\n' "$@" >&2
    exit 1
}

# Run a step with its output in the log, of which the end is shown when the step fails.
step() {
    local what=$1
    shift
    say "$what"
    "$@" >> "$log" 2>&1 < /dev/null && return
    tail -n 30 "$log" >&2
    fail "failed: $what" "the whole log is in $PWD/$log"
}

# --- system packages --------------------------------------------------------------------------------------------------

has_apt() { command -v apt-get > /dev/null && command -v dpkg-query > /dev/null; }

# The lock (9) is not for servers that a package's installation may start.
as_root() {
    if [ "$(id -u)" = 0 ]; then
        env "$@" 9>&-
    elif [ -t 2 ]; then
        sudo env "$@"
    else
        sudo -n env "$@"  # without a terminal, a question for the password would wait for ever
    fi
}

may_become_root() {
    [ "$(id -u)" = 0 ] && return
    command -v sudo > /dev/null || return
    if [ -t 2 ]; then sudo -v; else sudo -n true 2> /dev/null; fi
}

# Print those of the named packages that are not installed.
lacking() {
    local package
    for package in "$@"; do
        [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2> /dev/null)" = installed ] || echo "$package"
    done
}

update() { as_root LC_ALL=C apt-get -q update < /dev/null >> "$log" 2>&1; }

refreshed=no
refresh() {
    [ $refreshed = no ] || return 0
    say "reading the package lists"
    local tries
    for tries in {1..60}; do
        if update; then break; fi
        # apt waits for its other locks (DPkg::Lock::Timeout), not for the one of its lists.
        if tail -n 2 "$log" | grep -q 'Unable to lock directory' && [ "$tries" -lt 60 ]; then sleep 2; continue; fi
        # A broken list of somebody else's packages need not stop this; what is really missing fails at the install.
        say "apt-get update had errors (see $log); going on with the lists that are there"
        break
    done
    refreshed=yes
}

install() {
    [ $# -gt 0 ] || return 0
    has_apt || fail "this machine has no apt-get; install these, or what they are called here: $*"
    may_become_root ||
        fail "these packages are missing, and sudo is not available here: $*" \
            "as root, run: apt-get update && apt-get install --no-install-recommends $*" "then run this again"
    refresh
    step "installing $*" as_root DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1 \
        apt-get -q -y -o DPkg::Lock::Timeout=300 install --no-install-recommends "$@"
}

# --- Python -----------------------------------------------------------------------------------------------------------

if ! command -v "$python" > /dev/null; then
    [ "$python" = python3 ] || fail "there is no $python"
    install python3 python3-venv
fi
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    fail "Python 3.11 or newer is needed, and $("$python" --version) is what $python is" \
        "name another one with: make setup PYTHON=python3.12"
can_venv() { "$python" -c 'import ensurepip, venv' 2> /dev/null; }

# --- the servers' programs --------------------------------------------------------------------------------------------

# One line for each program: found or missing, then which one (see host/programs.py).
programs() { PYTHONPATH=packages/cenote/src PYTHONDONTWRITEBYTECODE=1 "$python" -m cenote.host.programs || true; }

misses() { cut -f 1,2 <<< "$found" | grep -qx "missing	$1"; }

# Say whether the distribution's PgBouncer, installed or not, is new enough.
distribution_has_pgbouncer() {
    local candidate
    candidate=$(apt-cache policy pgbouncer | sed -n 's/^ *Candidate: //p')
    [ -n "$candidate" ] && dpkg --compare-versions "$candidate" ge 1.21
}

found=$(programs)
wanted=()
can_venv || wanted+=(python3-venv)
if misses postgresql; then wanted+=(postgresql); fi
if misses etcd; then wanted+=(etcd-server); fi
build=no
if misses pgbouncer; then
    has_apt || fail "$(grep -P '^missing\tpgbouncer' <<< "$found" | cut -f 3)" \
        "this machine has no apt-get to get one by; install PgBouncer 1.21 or newer"
    # Without lists there is no candidate to judge.
    if ! distribution_has_pgbouncer && may_become_root; then refresh; fi
    if distribution_has_pgbouncer; then
        wanted+=(pgbouncer)
    else
        build=yes
        mapfile -t tools < <(lacking gcc make libc6-dev dpkg-dev patch xz-utils pkg-config libevent-dev libssl-dev libc-ares-dev)
        wanted+=("${tools[@]}")
    fi
fi
install "${wanted[@]}"
can_venv || fail "$python cannot make a virtual environment: its ensurepip module is missing" \
    "(for a Python that is not the distribution's python3, install its own -venv package)"
if [ $build = yes ]; then
    step "building PgBouncer, since the distribution's is older than 1.21 (about half a minute)" scripts/build-pgbouncer.sh
fi
found=$(programs)
if grep -q '^missing' <<< "$found"; then
    fail "$(sed -n 's/^missing\t[^\t]*\t\(.*\)\t\(.*\)$/\1; what helps: \2/p' <<< "$found")"
fi

# --- the virtual environment ------------------------------------------------------------------------------------------

rm -f "$stamp"
version() { "$1" -c 'import sys; print(*sys.version_info[:2])' 2> /dev/null; }
# One of another Python, one whose Python is gone, and one that was moved here from another folder are made anew.
if [ "$(version .venv/bin/python)" != "$(version "$python")" ] || ! grep -qF "$PWD/.venv" .venv/bin/activate; then
    rm -rf .venv
    step "making the virtual environment .venv" "$python" -m venv .venv
fi
pip() { .venv/bin/python -m pip --disable-pip-version-check --no-input "$@"; }
# Dependency groups need pip 25.1; the constraints pin one.
step "installing pip" pip install --constraint constraints.txt pip
step "installing the Python packages" pip install --constraint constraints.txt --build-constraint constraints.txt \
    --group dev --editable packages/cenote-client --editable packages/cenote-pydo --editable packages/cenote

{ inputs; echo "$python"; cut -f 4 <<< "$found"; } > "$stamp.part"
mv "$stamp.part" "$stamp"
say "ready: $(cut -f 2,3 <<< "$found" | tr '\t\n' ' ,' | sed 's/,$//; s/,/, /g')"
