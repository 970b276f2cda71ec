#!/usr/bin/env bash
# Follow the README as a newcomer would, on a bare Debian that debootstrap makes, and log each command with its time.
#
#   SUITE=trixie ACCOUNT=newcomer tools/first-hour.sh      as root; ACCOUNT=root for a newcomer who is root
#
# MIRROR is where packages come from, if not from the default of debootstrap.  PREPARE is a command that gets the folder of the new system, for what a
# network needs besides: a proxy, certificates, a package index.  KEEP=yes keeps the system for the next run, and TESTS=yes
# runs the unit tests in it.
# The log is build/first-hour-SUITE-ACCOUNT.log; the commands are those of README.md, its blocks in their order.
set -euo pipefail
cd "$(dirname "$0")/.."
suite=${SUITE:-trixie} account=${ACCOUNT:-newcomer}
root=$PWD/build/first-hour/$suite
log=$PWD/build/first-hour-$suite-$account.log

fail() { echo "first-hour: $1" >&2; exit 1; }

# Print a block of the README by its title.
block() { sed -n "/^\`\`\`[a-z]* title=\"$1\"\$/,/^\`\`\`\$/p" README.md | sed '1d;$d'; }

# --- inside: a mount, process and IPC namespace of its own, so that everything ends and nothing stays mounted ----------

mount_system() {
    mount --make-rprivate /
    mount -t proc proc "$root/proc"
    mount --rbind /sys "$root/sys"
    mount -t tmpfs -o mode=755 tmpfs "$root/dev"
    local device
    for device in null zero full random urandom tty; do
        touch "$root/dev/$device"
        mount --bind "/dev/$device" "$root/dev/$device"
    done
    mkdir "$root/dev/pts" "$root/dev/shm"
    mount -t devpts -o newinstance,ptmxmode=666,mode=620,gid=5 devpts "$root/dev/pts"
    mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm"
    ln -s pts/ptmx "$root/dev/ptmx"
    ln -s /proc/self/fd "$root/dev/fd"
    ln -s /proc/self/fd/0 "$root/dev/stdin"
    ln -s /proc/self/fd/1 "$root/dev/stdout"
    ln -s /proc/self/fd/2 "$root/dev/stderr"
}

inside() { chroot "$root" env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin TERM=xterm "$@"; }

# A terminal: a login shell that takes its commands from a pipe.  open NAME; enter NAME COMMAND waits for its end.
open() {
    mkfifo -m 644 "$root/tmp/$1"
    # Not from its standard input, which the commands have, too.
    inside su - "$account" -c "exec bash -l /tmp/$1" < /dev/null > "$root/tmp/$1.out" 2>&1 &
    exec {descriptor}> "$root/tmp/$1"
    declare -g "typed_$1=$descriptor"
}

note() { printf '%s\n' "$*" | tee -a "$log"; }

# Type a command, wait until it has ended or its output has a text, and log how long that took.
enter() {
    local name=$1 command=$2 text=${3:-} began output=$root/tmp/$1.out descriptor="typed_$1" from code=
    began=$(date +%s.%N)
    from=$(stat -c %s "$output")
    note "[$name] \$ $command"
    printf '%s\n' "$command" >&"${!descriptor}"
    [ -n "$text" ] || printf 'echo "[ended: $?]"\n' >&"${!descriptor}"
    for _ in {1..18000}; do
        code=$(tail -c +$((from + 1)) "$output" | sed -n 's/.*\[ended: \([0-9]*\)\].*/\1/p' | tail -n 1)
        if [ -n "$text" ] && tail -c +$((from + 1)) "$output" | grep -F "$text" > /dev/null; then code=0; fi
        [ -z "$code" ] || break
        sleep 0.1
    done
    tail -c +$((from + 1)) "$output" | sed '/^\[ended/d; s/cenote_v1_[0-9a-f]*/cenote_v1_…/; s/^/    /' | tail -n 12 | tee -a "$log"
    note "$(awk -v began="$began" -v now="$(date +%s.%N)" 'BEGIN { printf "    %.1f s", now - began }'), exit code ${code:-none}"
    [ "${code:-1}" = 0 ] || fail "the command failed: $command"
}

follow() {
    local line
    while IFS= read -r line; do
        [ "$account" != root ] || line=${line//sudo /}
        line=${line/ADDRESS/\/mnt\/cenote.bundle}
        case $line in
        "make run") enter "$1" "$line" "Press Ctrl-C" ;;
        *) enter "$1" "$line" ;;
        esac
    done <<< "$2"
}

newcomer() {
    mount_system
    : > "$log"
    note "$(. "$root/etc/os-release" && echo "$PRETTY_NAME"), account $account, $(date -u '+%Y-%m-%d %H:%M') UTC, $(nproc) processors"
    if [ "$account" != root ] && ! inside id "$account" > /dev/null 2>&1; then
        inside useradd -m -s /bin/bash "$account"
        echo "$account ALL=(ALL) NOPASSWD: ALL" > "$root/etc/sudoers.d/$account"
    fi
    local home
    home=$(inside sh -c "getent passwd $account | cut -d : -f 6")
    rm -f "$root"/tmp/terminal*
    open terminal_1
    open terminal_2
    follow terminal_1 "$(block 'terminal 1')"
    block example.py > "$root$home/cenote/example.py"
    follow terminal_2 "$(block 'terminal 2')"
    follow terminal_2 "$(block 'official pydo')"
    enter terminal_2 "cenote run -- sh -c 'psql \"\$DATABASE_URL\" -Atc \"SELECT 6 * 7\"'"
    [ "${TESTS:-}" != yes ] || enter terminal_2 "make test-fast"
    enter terminal_2 "make run" "It runs in another terminal"
    enter terminal_2 "make stop"
    local left
    left=$(inside ps -e -o args | grep -E '[p]ostgres|[p]gbouncer|[e]tcd' | grep -v /etc/postgresql || true)
    note "left after make stop: ${left:-nothing}"
}

if [ "${1:-}" = --inside ]; then
    newcomer
    exit
fi

# --- outside ----------------------------------------------------------------------------------------------------------

[ "$(id -u)" = 0 ] || fail "only root can make a system with debootstrap"
for program in debootstrap unshare; do
    command -v "$program" > /dev/null || fail "$program not found; install the package $program (unshare is in util-linux)"
done
mkdir -p "$root"
if [ ! -e "$root/etc/os-release" ]; then
    echo "first-hour: making a bare $suite in $root (about two minutes)"
    debootstrap "$suite" "$root" ${MIRROR:+"$MIRROR"} > "$root.log" 2>&1 || fail "debootstrap failed; see $root.log"
fi
[ -z "${PREPARE:-}" ] || $PREPARE "$root"
# What the installer puts there when it makes an account that may become root.
chroot "$root" sh -c 'command -v sudo || { apt-get -q update && apt-get -qy install sudo; }' > "$root.log" 2>&1
mapfile -t branch < <(git branch --show-current)
git bundle create -q "$root/mnt/cenote.bundle" HEAD "${branch[@]}"
code=0
unshare --mount --pid --ipc --fork --kill-child "$0" --inside || code=$?
# Nothing is mounted below it: all mounts were in the namespace that has ended.
if [ "${KEEP:-}" != yes ] && ! grep -qF " $root/" /proc/self/mounts; then rm -rf --one-file-system "$root"; fi
exit $code
