#!/usr/bin/env bash
# Install Patroni into an environment of its own in Cenote's data directory.
#
# The result is <data directory>/programs/patroni-<version>/bin/patroni.  Another version stays beside it, since
# nodes run with it.  The servers' account executes it, so as root it lies where everybody may read.
set -euo pipefail
cd "$(dirname "$0")/.."
umask 022

pins=scripts/patroni.txt
python=${1:-python3}
version=$(sed -n 's/^patroni==//p' $pins)
if [ "$(id -u)" = 0 ]; then home=/var/lib/cenote; else home=${XDG_DATA_HOME:-$HOME/.local/share}/cenote; fi
programs=$home/programs target=$home/programs/patroni-$version

mkdir -p "$programs"
exec 8> "$programs/.lock"
flock 8
# The name of the folder is in the scripts of an environment, so it is made in its place; the program is last.
if "$target/bin/patroni" --version > /dev/null 2>&1 && cmp -s $pins "$target/pins.txt"; then exit 0; fi
rm -rf "$target"
# The interpreter behind an environment may lie where this user alone gets, as below the home of root.
reachable() {
    local folder
    folder=$(readlink -f "$("$1" -c 'import sys; print(sys.base_prefix + "/bin/python3")' 2> /dev/null)") || return
    [ "$(id -u)" != 0 ] && return
    while [ "$folder" != / ]; do
        [ $((0$(stat -c %a "$folder") & 1)) = 1 ] || return
        folder=$(dirname "$folder")
    done
}
for candidate in "$python" /usr/bin/python3 /usr/local/bin/python3; do
    if reachable "$candidate" && "$candidate" -c 'import venv' 2> /dev/null; then break; fi
    candidate=
done
[ -n "$candidate" ] || { echo "no Python that the servers' account can execute; install the package python3" >&2; exit 1; }
"$candidate" -m venv --without-pip "$target"
"$python" -m pip --disable-pip-version-check --no-input --python "$target/bin/python" \
    install --quiet --requirement $pins
cp $pins "$target/pins.txt"
