"""The etcd of this host, as a member of the store: started, watched over, and given up when it was removed.

Which member it is stands in the store, since only etcd's root may add one (``controller/store_members.py``).
What is on the disk is given up on positive evidence only: the members do not know it any more, or know this
host as another one that was never started.  The members are also written to a file, from which this host's
processes take where to ask.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path

import msgspec

from cenote.errors import CenoteError, Unavailable
from cenote.host import files
from cenote.model.fleet_records import StoreMember
from cenote.store import member_file, members
from cenote.store.client import EtcdClient
from cenote.store.encoding import decode
from cenote.store.etcd_messages import Member
from cenote.store.keys import Keys
from cenote.store.process import PrivateEtcd

log = logging.getLogger(__name__)

LOOK_SECONDS = 1.0

_record = msgspec.json.Decoder(StoreMember)


class StoreKeeper:
    """``etcd`` is None on a host without the role store, ``client`` that of the agent.

    ``at`` makes a client, without a login, of the one member of a host at a URL.
    """

    def __init__(
        self,
        client: EtcdClient,
        prefix: str,
        host_id: str,
        etcd: PrivateEtcd | None,
        file: Path,
        at: Callable[[str, str], EtcdClient],
    ) -> None:
        self._client, self._keys, self._host_id = client, Keys(prefix), host_id
        self._etcd, self._file, self._at = etcd, file, at
        self._watching: asyncio.Task[None] | None = None
        self._told = ""

    async def run(self) -> None:
        """Run until cancelled."""
        try:
            if self._etcd is not None and self._etcd.has_data:
                self._watch(self._etcd)
            while True:
                self._watch_again()
                try:
                    await self._look()
                except CenoteError as error:
                    self._tell(error.message, quietly=isinstance(error, Unavailable))
                except OSError as error:
                    self._tell(f"the etcd of this host: {error}")
                except Exception:
                    log.exception("the etcd of this host: a defect in Cenote")
                await asyncio.sleep(LOOK_SECONDS)
        finally:
            await self._unwatch()

    async def _look(self) -> None:
        found = await self._listed()
        seats = member_file.of(found)
        if not seats:
            return  # it stands alone
        member_file.write(self._file, seats)
        if self._etcd is not None and self._etcd.member.listening is not None:
            await self._follow(self._etcd, {one.id: one for one in found})

    async def _listed(self) -> list[Member]:
        """Return the members, also when those are gone that voted as far as is known here."""
        try:
            return await members.listed(self._client)
        except Unavailable:
            found = await members.listed_by_heirs(member_file.read(self._file), self._at)
            if not found:
                raise
            return found

    async def _follow(self, etcd: PrivateEtcd, found: dict[int, Member]) -> None:
        wanted, there = await self._wanted(), await _running(etcd) or _noted(etcd)
        seat = found.get(wanted)
        if seat is not None and there == wanted and etcd.has_data:
            _note(etcd, wanted)
        elif seat is not None and not seat.name:
            await self._begin(etcd, wanted, list(found.values()))
        elif seat is not None and not etcd.has_data:
            raise etcd.folder.data_missing()
        elif there and there != wanted and there not in found and etcd.has_data:
            await self._give_up(etcd)
            return
        if etcd.has_data and self._watching is None:
            self._watch(etcd)

    async def _wanted(self) -> int:
        key = self._keys.store_member(self._host_id)
        found = await self._client.read(key)
        return 0 if found is None else decode(key, found.value, _record).member

    async def _begin(self, etcd: PrivateEtcd, member: int, found: list[Member]) -> None:
        """Start as a member that was never started; data of another one are kept aside."""
        if not (etcd.has_data and _noted(etcd) == member):
            await self._give_up(etcd)
            _note(etcd, member)
        log.info("etcd of this host starts as a member of the store")
        await etcd.start(members.initial_cluster(found, member, self._host_id))

    async def _give_up(self, etcd: PrivateEtcd) -> None:
        if etcd.has_data:
            log.warning("the etcd of this host is no member of the store any more; its data are put aside")
        await self._unwatch()
        await etcd.stop()
        etcd.folder.put_data_aside()

    def _watch(self, etcd: PrivateEtcd) -> None:
        self._watching = asyncio.create_task(etcd.watch(), name="watching etcd")

    def _watch_again(self) -> None:
        """Go on watching over etcd if that has ended by a defect."""
        ended = self._watching
        if ended is None or not ended.done() or ended.cancelled() or ended.exception() is None:
            return
        log.error("watching over etcd: a defect in Cenote", exc_info=ended.exception())
        assert self._etcd is not None
        self._watch(self._etcd)

    async def _unwatch(self) -> None:
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.wait([self._watching])
            self._watching = None

    def _tell(self, message: str, *, quietly: bool = False) -> None:
        if message != self._told:
            log.log(logging.DEBUG if quietly else logging.ERROR, "%s", message)
        self._told = message


async def _running(etcd: PrivateEtcd) -> int:
    """Return which member runs here; 0 if none answers."""
    if etcd.pid is None:
        return 0
    client = EtcdClient(socket=etcd.socket)
    try:
        async with asyncio.timeout(1):
            return (await client.status()).header.member
    except (Unavailable, TimeoutError):
        return 0
    finally:
        await client.close()


def _noted(etcd: PrivateEtcd) -> int:
    text = (files.read(etcd.folder.note) or b"").decode("ascii", "replace").strip()
    return int(text) if text.isdigit() else 0


def _note(etcd: PrivateEtcd, member: int) -> None:
    """Write down which member the data here are, before they are made."""
    if _noted(etcd) != member:
        etcd.folder.note.parent.mkdir(mode=0o700, exist_ok=True)
        files.write(etcd.folder.note, f"{member}\n".encode(), 0o600, None)
        files.sync(etcd.folder.note)
