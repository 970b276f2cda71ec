"""``pgbackrest.conf`` of a node, and the script that PostgreSQL archives WAL with.

The configuration holds the passphrase of the cluster's backups and the credentials of the repository, so it
is for the servers' account alone; no secret is in a command line, since pgBackRest hands its options on to
its own processes by file, too.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cenote.conf.hba import SUPERUSER
from cenote.conf.quoting import one_line
from cenote.model.backups import Repository, RepositoryKind
from cenote.model.record import Secret
from cenote.rules import lineages, repositories

_S3_PORT, _SSH_PORT = "443", "22"


@dataclass(frozen=True, slots=True)
class Server:
    """The PostgreSQL that is backed up."""

    data: Path
    port: int
    sockets: Path


def render(
    repository: Repository,
    credentials: Mapping[str, Secret],
    *,
    state: Path,
    days: int,
    stanza: str = "",
    passphrase: Secret | None = None,
    server: Server | None = None,
    queue_mib: int = 0,
    processes: int = 1,
    progress: bool = False,
    key: Path | None = None,
) -> str:
    """Render the file; without a stanza, one with which only the repository is asked.

    ``queue_mib`` is how much WAL is kept for a repository that does not take it, 0 for all of it.  With
    ``progress`` each file of a restore is noted in a log in ``state``.  ``key`` is the file with the private
    key for an SFTP server.
    """
    settings = {
        **_repository(repository, credentials, key),
        "repo1-retention-full-type": "time",
        "repo1-retention-full": str(days),
        "compress-type": "zst",
        "compress-level": "1",  # half the processor time of 3, for a tenth more of size
        "process-max": str(processes),  # a backup may take its time
        "start-fast": "y",
        "archive-mode-check": "n",  # our script does on a standby what ``always`` needs
        "archive-timeout": "60",
        # It tries four times as long to reach a bucket; the reason comes before ``PUSH_SECONDS`` are over.
        "io-timeout": "10",
        "lock-path": str(state),
        "log-level-console": "off",
        "log-level-stderr": "error",
        "log-level-file": "off",
        "log-timestamp": "n",
    }
    if progress:
        settings |= {"log-level-file": "detail", "log-path": str(state)}
    if queue_mib:
        settings["archive-push-queue-max"] = f"{queue_mib}MiB"
    if passphrase is not None:
        settings |= {"repo1-cipher-type": "aes-256-cbc", "repo1-cipher-pass": passphrase.reveal()}
    sections = {"global": settings}
    if stanza and server is not None:
        sections[stanza] = {
            "pg1-path": str(server.data),
            "pg1-port": str(server.port),
            "pg1-socket-path": str(server.sockets),
            "pg1-user": SUPERUSER,
        }
    lines = ["# Written by Cenote; changes made here are undone."]
    for name, values in sections.items():
        lines += [f"[{one_line(name)}]", *(f"{key}={one_line(values[key])}" for key in sorted(values))]
    return "\n".join(lines) + "\n"


def directory_of(configuration: str) -> Path | None:
    """Return the directory of this host that a configuration names; None for a bucket or a server."""
    lines = dict(line.split("=", 1) for line in configuration.splitlines() if "=" in line)
    path = lines.get("repo1-path")
    return None if path is None or "repo1-type" in lines else Path(path)


def private_key(credentials: Mapping[str, Secret]) -> bytes | None:
    """Return what has to stand in the file of the private key; None where none is used."""
    found = credentials.get(repositories.PRIVATE_KEY)
    return None if found is None else found.reveal().encode()


def _repository(
    repository: Repository, credentials: Mapping[str, Secret], key: Path | None
) -> dict[str, str]:
    settings = {"repo1-path": str(repository.path)}
    if repository.kind is RepositoryKind.FILE:
        return settings
    host, _, port = repository.endpoint.partition(":")
    if repository.kind is RepositoryKind.SFTP:
        return settings | _server(repository, host, port or _SSH_PORT, key)
    settings |= {
        "repo1-type": "s3",
        "repo1-s3-bucket": repository.bucket,
        "repo1-s3-endpoint": host,
        "repo1-s3-region": repository.region,
        "repo1-s3-uri-style": "path" if repository.by_path else "host",
        "repo1-storage-port": port or _S3_PORT,
        "repo1-s3-key": credentials["key"].reveal(),
        "repo1-s3-key-secret": credentials["secret"].reveal(),
    }
    if "token" in credentials:
        settings["repo1-s3-token"] = credentials["token"].reveal()
    if repository.authority:
        settings["repo1-storage-ca-file"] = repository.authority
    return settings


def _server(repository: Repository, host: str, port: str, key: Path | None) -> dict[str, str]:
    settings = {
        "repo1-type": "sftp",
        "repo1-sftp-host": host,
        "repo1-sftp-host-port": port,
        "repo1-sftp-host-user": repository.user,
        "repo1-sftp-private-key-file": str(key),
        "repo1-sftp-host-key-hash-type": "sha256",
    }
    if repository.known_hosts:
        return settings | {
            "repo1-sftp-host-key-check-type": "strict",
            "repo1-sftp-known-host": repository.known_hosts,
        }
    return settings | {
        "repo1-sftp-host-key-check-type": "fingerprint",
        "repo1-sftp-host-fingerprint": repository.fingerprint,
    }


def archive_command(script: Path) -> str:
    """Return PostgreSQL's ``archive_command``."""
    return f"{shlex.quote(str(script)).replace('%', '%%')} %p"


def archive_script(
    program: Path,
    configuration: Path,
    stanza: str,
    state: Path,
    *,
    queue_mib: int = 0,
    disk: Path | None = None,
    least_free_mib: int = 0,
    lineage: str = "",
    shared: bool = True,
) -> str:
    """Render the script, which PostgreSQL runs in its data directory with the path of a segment.

    A writer pushes.  A standby keeps what it has received until it is in the archive, so that it can push
    the rest when it is promoted; of that, too, no more than ``queue_mib``.  A server that is being shut down
    waits a moment only, as its clients do: what is left is pushed after the start.  The last failure, and a
    segment that was dropped because more than ``queue_mib`` wait, are left in files for the agent, the latter
    with the Unix time up to which all is archived, if that is known; 0: nothing is dropped.  ``disk`` is
    where the repository is, if that is the disk of the data: with less free space nothing is pushed.  Nothing
    is pushed beside a mark in the repository that is newer than ``lineage`` (``rules/lineages.py``).  Unless
    the repository is ``shared`` with the writer of a standby, nothing of the writer's comes into it, and
    nothing is waited for.
    """
    command = shlex.join([str(program), f"--config={configuration}", f"--stanza={stanza}"])
    return _SCRIPT.format(
        command=command,
        archive=f"archive/{stanza}",
        marks=lineages.folder(stanza),
        mark=shlex.quote(lineages.NAME),
        lineage=lineage,
        superseded=shlex.quote(f"ERROR: [000]: {lineages.SUPERSEDED}"),
        state=shlex.quote(str(state)),
        failed=FAILED,
        gap=GAP,
        reached=REACHED,
        said=_SAID,
        waits="" if shared else "no",
        push_seconds=PUSH_SECONDS,
        stop_seconds=STOP_SECONDS,
        # pgBackRest drops by itself what is beyond the limit, where it can be run at all.
        most=queue_mib // SEGMENT_MIB + _SLACK if queue_mib else 0,
        disk=shlex.quote(str(disk or "/")),
        least_free=least_free_mib if disk is not None else 0,
    )


def dropping_script(state: Path) -> str:
    """Render the script of a server that cannot be backed up: all WAL is dropped, and a gap is left."""
    return _DROPPING.format(state=shlex.quote(str(state)), gap=GAP)


PUSH_SECONDS, STOP_SECONDS = 60, 2  # PostgreSQL tries three times, also as it ends
FAILED, GAP = "archive-failure", "archive-gap"  # files in the folder of the state
REACHED = "archive-reached"  # the time of this file is that of the last segment in the archive
COVERED_GAP = "archive-gap-covered"  # where the agent puts a gap aside that a full backup covers
_SAID = "archive-said"  # and the name of the data directory, since nodes may share a host
SEGMENT_MIB = 16
_SLACK = 4  # segments

_DROPPING = """\
#!/bin/sh
# Written by Cenote; changes made here are undone.
umask 077
echo "${{1##*/}}" >> {state}/{gap}
"""

# A command that hangs may be one that no signal ends, such as on a network disk that is away.  So it runs in
# the background, and is left behind.
_SCRIPT = """\
#!/bin/sh
# Written by Cenote; changes made here are undone.
umask 077
name=${{1##*/}}
if [ -e recovery.signal ]; then exit 0; fi  # a restored copy archives nothing before it is a server

is_stopping() {{
    case $(tail -n 1 postmaster.pid 2> /dev/null) in stopping*) ;; *) return 1 ;; esac
}}

if is_stopping; then
    since=$(stat -c %Y postmaster.pid) || exit 1
    if [ $(($(date +%s) - since)) -gt {stop_seconds} ]; then exit 1; fi
fi

too_many() {{
    set -- pg_wal/archive_status/*.ready
    [ {most} -gt 0 ] && [ $# -gt {most} ]
}}

# After a failover the segment in which a timeline has ended is complete on no server, and what was written to
# it is in the next timeline's.  A standby keeps it as if it were one like others, and would wait for ever.
is_past_its_end() {{
    case $name in *.*) return 1 ;; esac
    history=$(ls pg_wal/*.history 2> /dev/null | tail -n 1)
    [ -n "$history" ] || return 1
    own=$((0x$(printf %.8s "$name"))) rest=${{name#????????}}
    while read -r timeline point _; do
        [ "$timeline" = "$own" ] || continue
        number=$((0x$(printf %.8s "$rest") * 256 + 0x${{rest#????????}}))
        [ $number -ge $((0x${{point%/*}} * 256 + 0x${{point#*/}} / 0x1000000)) ] && return 0
    done < "$history"
    return 1
}}

# All before the last write to a segment that is archived can be restored, and what was written after that,
# until the next segment was dropped, cannot.
reach() {{
    case $name in *.*) ;; *) touch -r "$1" {state}/{reached} 2> /dev/null ;; esac
}}

lose() {{
    echo "$name" $(stat -c %Y {state}/{reached} 2> /dev/null) >> {state}/{gap} || exit 1
}}

said={state}/{said}-${{PWD##*/}}
hangs= full= code=0
trap 'hangs=1' USR1

ask() {{
    rm -f "$said"  # one that was left behind may still write to it
    {command} "$@" > "$said" 2>&1 &
    asked=$!
    {{
        trap 'kill $!; wait $!; exit' TERM
        left={push_seconds}
        while [ $left -gt 0 ]; do
            sleep 1 &
            wait $!
            left=$((left - 1))
            if [ $left -ge {stop_seconds} ] && is_stopping; then left=$(({stop_seconds} - 1)); fi
        done
        kill -USR1 $$
        kill $asked
        sleep 1
        kill -KILL $asked
    }} > /dev/null 2>&1 &
    watch=$!
    wait $asked
    code=$?
    if [ -z "$hangs" ]; then kill $watch && wait $watch; fi 2> /dev/null
    return $code
}}

is_archived() {{
    case $name in
        *.history) folder= ;;
        *.*) return 0 ;;  # belongs to a backup of the writer
        *) folder=/$(printf %.16s "$name") ;;
    esac
    ask --log-level-stderr=off repo-ls {archive} --filter='^[0-9]+-[0-9]+$' || return 1
    for id in $(cat "$said"); do
        ask --log-level-stderr=off repo-ls "{archive}/$id$folder" --filter="^$name" || return 1
        if [ -s "$said" ]; then return 0; fi
    done
    return 1
}}

if is_past_its_end; then exit 0; fi
if [ -e standby.signal ]; then
    if [ "{waits}" = no ]; then exit 0; fi
    if is_archived; then reach "$1"; exit 0; fi
    # The writer has it, or tells a gap of its own.  Should this server be promoted, a full backup follows.
    too_many || exit 1
    lose
    exit 0
fi

push() {{
    ask --log-level-console=warn --log-level-stderr=off repo-ls {marks} || return 1
    newest=$({{ grep -E {mark} "$said"; echo "{lineage}"; }} | LC_ALL=C sort | tail -n 1)
    if [ "$newest" != "{lineage}" ]; then
        echo {superseded} > "$said"
        return 1
    fi
    ask --log-level-console=warn --log-level-stderr=off --pg1-path="$PWD" archive-push "$1"
}}

if [ {least_free} -gt 0 ]; then
    space=$(stat -f -c '%a * %S / 1048576' {disk} 2> /dev/null)
    if [ -n "$space" ] && [ $(($space)) -lt {least_free} ]; then full=$(($space)); fi
fi
if [ -z "$full" ] && push "$1"; then
    case $(cat "$said") in
        # PostgreSQL takes it for archived, so the gap comes first; and nothing is well because of it.
        *"dropped WAL file"*) lose ;;
        *) reach "$1"; rm -f {state}/{failed} ;;
    esac
    exit 0
fi
if is_stopping; then exit 1; fi
if [ -z "$hangs$full" ]; then text=$(cat "$said"); else text=; fi
if [ -n "$full" ]; then text="ERROR: [000]: the disk, which is that of the data, has $full MiB left"; fi
case $code in 126 | 127) text="ERROR: [000]: pgBackRest cannot be run" ;; esac
text=${{text:-ERROR: [000]: the repository took no segment within {push_seconds} seconds}}
echo "$text"
echo "$text" > {state}/{failed}
too_many || exit 1
lose
"""
