#!/usr/bin/env bash
# Install what Cenote needs on this machine: system packages, PgBouncer, Patroni, and the virtual environment .venv.
#
# Idempotent, and safe to run concurrently.  .venv/setup-stamp records the inputs of the last run and the programs it
# found; while both are unchanged, the script does nothing.
set -euo pipefail
cd "$(dirname "$0")/.."
umask 022  # packages create directories with it, and as root the servers run as another user

stamp=.venv/setup-stamp
log=build/setup.log

# --- up to date? ------------------------------------------------------------------------------------------------------

# Stamp: line 1 is a hash of the inputs, line 2 the Python, the others the programs.
stamped() { sed -n "$1p" "$stamp" 2> /dev/null || true; }

# The directory is an input, since editable installs and the environment's scripts contain its full path; so is the
# user, since each user may have own programs.
inputs() {
    { echo "$PWD $(id -u)"; cat constraints.txt pyproject.toml packages/*/pyproject.toml scripts/*.sh scripts/patroni.txt; } | sha256sum
}

up_to_date() {
    local program
    [ -x .venv/bin/python ] && [ "$(stamped 1)" = "$(inputs)" ] && [ "$(stamped 2)" = "$python" ] || return 1
    while read -r program; do [ -x "$program" ] || return 1; done < <(stamped '3,$')
}

# A Python that was chosen once is kept.
python=${PYTHON:-$(stamped 2)}
python=${python:-python3}

if up_to_date; then exit 0; fi

mkdir -p build
exec 9> build/setup.lock
flock 9
if up_to_date; then exit 0; fi
: > "$log"

# --- messages ---------------------------------------------------------------------------------------------------------

say() { printf 'setup: %s\n' "$*"; }

fail() {
    printf 'setup: %s\n' "$@" >&2
    exit 1
}

# Run a step with its output in the log; show the end of the log when the step fails.
step() {
    local what=$1
    shift
    say "$what"
    "$@" >> "$log" 2>&1 < /dev/null && return
    tail -n 30 "$log" >&2
    fail "failed: $what" "full log: $PWD/$log"
}

# --- system packages --------------------------------------------------------------------------------------------------

has_apt() { command -v apt-get > /dev/null && command -v dpkg-query > /dev/null; }

# Servers that a package installation may start must not inherit the lock (9).
as_root() {
    if [ "$(id -u)" = 0 ]; then
        env "$@" 9>&-
    elif [ -t 2 ]; then
        sudo env "$@"
    else
        sudo -n env "$@"  # without a terminal, a password prompt would block forever
    fi
}

may_become_root() {
    [ "$(id -u)" = 0 ] && return
    command -v sudo > /dev/null || return
    if [ -t 2 ]; then sudo -v; else sudo -n true 2> /dev/null; fi
}

# Print the given packages that are not installed.
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
    say "updating the package lists"
    local tries
    for tries in {1..60}; do
        if update; then break; fi
        # apt waits for its other locks (DPkg::Lock::Timeout), but not for the lock of its lists.
        if tail -n 2 "$log" | grep 'Unable to lock directory' > /dev/null && [ "$tries" -lt 60 ]; then sleep 2; continue; fi
        # A broken third-party source need not stop the set-up; a package that is really missing fails at the install.
        say "apt-get update failed (see $log); continuing with the existing package lists"
        break
    done
    refreshed=yes
}

install() {
    [ $# -gt 0 ] || return 0
    has_apt || fail "apt-get not found; install these packages or their equivalents: $*"
    may_become_root ||
        fail "these packages are missing, and sudo is not available: $*" \
            "run as root: apt-get update && apt-get install --no-install-recommends $*" "then re-run the set-up"
    refresh
    step "installing $*" as_root DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1 \
        apt-get -q -y -o DPkg::Lock::Timeout=300 install --no-install-recommends "$@"
}

# --- Python -----------------------------------------------------------------------------------------------------------

if ! command -v "$python" > /dev/null; then
    [ "$python" = python3 ] || fail "$python not found"
    install python3 python3-venv
fi
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    fail "Python 3.11 or newer is required; $python is $("$python" --version)" \
        "choose another with: make setup PYTHON=python3.12"
can_venv() { "$python" -c 'import ensurepip, venv' 2> /dev/null; }

# --- the servers' programs --------------------------------------------------------------------------------------------

# One line per program: "found", "optional" or "missing", then the program (see host/programs.py).
programs() { PYTHONPATH=packages/cenote/src PYTHONDONTWRITEBYTECODE=1 "$python" -m cenote.host.programs || true; }

# True for a package that apt knows.  With -q, grep would end before apt-cache has written all, which pipefail takes for no.
is_offered() { has_apt && apt-cache policy "$1" | grep '^ *Candidate: [^(]' > /dev/null; }

misses() { cut -f 1,2 <<< "$found" | grep -x "missing	$1" > /dev/null; }

# True if the distribution's PgBouncer, installed or not, is new enough.
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
        "apt-get not found; install PgBouncer 1.21 or newer"
    # Without package lists there is no candidate to compare.
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

# Without it the service starts and keeps no backups, so nothing fails for it, and it asks for no password.
install_pgbackrest() {
    has_apt || return
    [ "$(id -u)" = 0 ] || sudo -n true 2> /dev/null || return
    is_offered pgbackrest || refresh
    is_offered pgbackrest || return
    (install pgbackrest)  # which ends the shell when it fails
}
if cut -f 1,2 <<< "$found" | grep -x "optional	pgbackrest" > /dev/null; then
    install_pgbackrest || say "no pgBackRest: backups (cenote serve --backups) need it; install the package pgbackrest as root"
fi
can_venv || fail "$python cannot create a virtual environment: module ensurepip is missing" \
    "(if it is not the distribution's python3, install its own -venv package)"
if [ $build = yes ]; then
    step "building PgBouncer, because the distribution's is older than 1.21 (about 30 s)" scripts/build-pgbouncer.sh
fi
found=$(programs)
if grep -q '^missing' <<< "$found"; then
    fail "$(sed -n 's/^missing\t[^\t]*\t\(.*\)\t\(.*\)$/\1; fix: \2/p' <<< "$found")"
fi

# --- the API's account ------------------------------------------------------------------------------------------------

# Only root can give the API an account of its own; without it the service starts all the same (`cenote doctor`).
if [ "$(id -u)" = 0 ] && ! getent passwd cenote-api > /dev/null; then
    say "creating the system user cenote-api, for the API"
    useradd --system --user-group --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin cenote-api \
        >> "$log" 2>&1 || getent passwd cenote-api > /dev/null || say "it cannot be created (see $log); the API will run as root"
fi

# --- the virtual environment ------------------------------------------------------------------------------------------

rm -f "$stamp"
version() { "$1" -c 'import sys; print(*sys.version_info[:2])' 2> /dev/null; }
# Recreate an environment of another Python, of a removed Python, or moved here from another directory.
if [ "$(version .venv/bin/python)" != "$(version "$python")" ] || ! grep -qF "$PWD/.venv" .venv/bin/activate; then
    rm -rf .venv
    step "creating the virtual environment .venv" "$python" -m venv .venv
fi
pip() { .venv/bin/python -m pip --disable-pip-version-check --no-input "$@"; }
# Dependency groups need pip 25.1; the constraints pin one.
step "installing pip" pip install --constraint constraints.txt pip
step "installing Python packages" pip install --constraint constraints.txt --build-constraint constraints.txt \
    --group dev --editable packages/cenote-client --editable packages/cenote-pydo --editable packages/cenote

# Without it the service starts, and each cluster has one node.
if [ -n "$(cut -f 1,2 <<< "$found" | grep -x "optional	patroni")" ]; then
    say "installing Patroni, for clusters with several nodes"
    scripts/install-patroni.sh .venv/bin/python >> "$log" 2>&1 < /dev/null ||
        say "Patroni cannot be installed (see $log): clusters have one node each"
    found=$(programs)
fi

found=$(grep '^found' <<< "$found")
{ inputs; echo "$python"; cut -f 4 <<< "$found"; } > "$stamp.part"
mv "$stamp.part" "$stamp"
say "ready: $(cut -f 2,3 <<< "$found" | tr '\t\n' ' ,' | sed 's/,$//; s/,/, /g')"
