#!/usr/bin/env bash
# Build a newer PgBouncer from Debian's source package in Cenote's data directory.
#
# apt runs with private directories: the machine's sources, lists and packages stay unchanged, and root is not needed.
# The result is <data directory>/programs/pgbouncer-<version>/bin/pgbouncer.
set -euo pipefail
trap 'echo "failed in line $LINENO: $BASH_COMMAND" >&2' ERR
umask 022  # as root, the servers run as another user, who must be able to execute it

suite=trixie
least=1.21

if [ "$(id -u)" = 0 ]; then home=/var/lib/cenote; else home=${XDG_DATA_HOME:-$HOME/.local/share}/cenote; fi
programs=$home/programs

fail() {
    printf '%s\n' "$@" >&2
    exit 1
}

version_of() { "$1" --version 2> /dev/null | sed -n 's/^PgBouncer //p'; }

present() {
    local program
    for program in "$programs"/pgbouncer-*/bin/pgbouncer; do
        [ -x "$program" ] && dpkg --compare-versions "$(version_of "$program")" ge $least && return
    done
    return 1
}

mkdir -p "$programs"
exec 8> "$programs/.lock"
flock 8
if present; then exit 0; fi

# --- find the archive ---------------------------------------------------------------------------------------------

# apt reads the machine's sources in both formats, and knows the origin of each archive from its lists.
archive() {
    apt-get indextargets --format '$(ORIGIN)|$(LABEL)|$(COMPONENT)|$(REPO_URI)|$(SOURCESENTRY)' 'Created-By: Packages' |
        sed -n 's/^Debian|Debian|main|//p' | sed -n 1p
}

# The keyrings given in a source list, for an archive or mirror with its own keys; else Debian's.
keyrings() {
    local named debian=/usr/share/keyrings/debian-archive-keyring.gpg
    named=$(sed -n 's/#.*//; s/.*[Ss]igned-[Bb]y *[:=] *\(\/[^] ]*\).*/\1/p' "$1" | sort -u | paste -sd ,)
    if [ -n "$named" ]; then echo "$named"; elif [ -r $debian ]; then echo $debian; fi
}

distribution=$(. /etc/os-release && echo "${ID:-} ${ID_LIKE:-}")
case " $distribution " in
    *" ubuntu "*)
        fail "This release's PgBouncer is older than $least, and Ubuntu's archive does not have Debian's source package." \
            "Add the PostgreSQL project's apt repository (https://wiki.postgresql.org/wiki/Apt) and install pgbouncer from it," \
            "or put another PgBouncer on the PATH." ;;
    *" debian "*) ;;
    *) fail "Not a Debian system; put PgBouncer $least or newer on the PATH." ;;
esac
entry=$(archive)
[ -n "$entry" ] ||
    fail "apt has no Debian archive (component main); if its lists were never updated, run as root: apt-get update"
uri=${entry%%|*}
list=${entry#*|}
keys=$(keyrings "${list%:*}")

# --- fetch --------------------------------------------------------------------------------------------------------

# Next to the destination, so that the last step is a rename.  Existing directories are left from killed builds.
rm -rf "$programs"/.build-*
work=$(mktemp -d "$programs/.build-XXXXXX")
trap 'rm -rf "$work"' EXIT
mkdir -p "$work"/{state/lists/partial,cache/archives/partial,source}
echo "deb-src ${keys:+[signed-by=$keys]} $uri $suite main" > "$work/sources.list"
apt=(
    apt-get -q -y
    -o "Dir::Etc::SourceList=$work/sources.list" -o Dir::Etc::SourceParts=/dev/null
    -o Dir::Etc::Preferences=/dev/null -o Dir::Etc::PreferencesParts=/dev/null
    -o "Dir::State=$work/state" -o "Dir::State::Lists=$work/state/lists" -o Dir::State::status=/var/lib/dpkg/status
    -o "Dir::Cache=$work/cache" -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache=
    -o "APT::Sandbox::User=$(id -un)"  # apt's sandbox user cannot write here
    -o APT::Update::Pre-Invoke= -o APT::Update::Post-Invoke-Success= -o APT::Update::Post-Invoke=
)
"${apt[@]}" update
(cd "$work/source" && "${apt[@]}" source pgbouncer)

# --- build --------------------------------------------------------------------------------------------------------

cd "$work"/source/pgbouncer-*/
./configure --prefix=/usr --with-cares --with-openssl --without-pam --without-systemd
make -j "$(nproc)" pgbouncer  # not the manual pages, which need pandoc

version=$(version_of ./pgbouncer)
dpkg --compare-versions "$version" ge $least || fail "built PgBouncer '$version', which is older than $least"
mkdir -p "$work/done/bin"
install -s -m 755 pgbouncer "$work/done/bin/pgbouncer"
chmod 755 "$work/done"
# Replaces an existing build of this version that cannot run (a removed library, say).
rm -rf "$programs/pgbouncer-$version"
mv "$work/done" "$programs/pgbouncer-$version"
echo "installed $programs/pgbouncer-$version/bin/pgbouncer"
