"""A name server of the operator's: asked for names, and told of them by signed updates (RFC 2136, RFC 8945).

Beside each name stands a mark of ours, ``_cenote.NAME TXT "cenote store=… n=…"``, and every update is
conditional on it: a name without one is somebody else's, and is never touched.  The mark is not at the name
itself, since an alias (CNAME) tolerates nothing beside it.  Its number counts up with each update, so an
update of a controller that was paused and replaced meanwhile is refused.
"""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Awaitable, Callable
from ipaddress import IPv4Address, ip_address
from typing import TypeAlias

import dns.asyncbackend
import dns.asyncquery
import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdata
import dns.rdatatype
import dns.tsig
import dns.update

from cenote.controller.names import NameRefused, NameServerFailed
from cenote.security.tsig_keys import TsigKey

TTL = 5  # seconds, for which clients go on using the former host
SECONDS = 5.0  # for one answer
_MARK = re.compile(r"cenote store=(?P<store>[0-9A-Za-z-]{1,64}) n=(?P<number>[0-9]{1,15})")
Claim: TypeAlias = Callable[[], Awaitable[None]]
_KINDS = (dns.rdatatype.A, dns.rdatatype.AAAA, dns.rdatatype.CNAME)


class _Raced(Exception):
    """The mark is another than it was."""


class NameServer:
    """``store_id`` tells our names from those of another service in the same zone."""

    def __init__(self, host: str, port: int, zone: str, key: TsigKey, store_id: str) -> None:
        self._host, self._port, self._store_id = host, port, store_id
        self._zone, self._zone_name, self._key_name = dns.name.from_text(zone), zone, key.name
        self._key = dns.tsig.Key(key.name, key.secret.reveal(), key.algorithm)
        self._shown = f"{host}:{port}" if ":" not in host else f"[{host}]:{port}"

    def has(self, name: str) -> bool:
        """Return whether a name is in the zone."""
        return dns.name.from_text(name).is_subdomain(self._zone)

    async def check(self) -> None:
        """Raise NameServerFailed unless it has the zone and knows the key."""
        if not await self._answers(self._zone_name, "SOA"):
            raise NameServerFailed(f"the name server {self._shown} does not have the zone {self._zone_name}")

    async def targets(self, name: str) -> frozenset[str]:
        """Return where a name leads: addresses, or a host name."""
        found: set[str] = set()
        for kind in (dns.rdatatype.A, dns.rdatatype.AAAA):
            for rdata in await self._answers(name, kind, dns.rdatatype.CNAME):
                found.add(rdata.to_text().removesuffix(".").lower())
        return frozenset(found)

    async def set(self, name: str, target: str, claim: Claim) -> None:
        """Have a name lead to an address or a host name, and nowhere else.

        ``claim`` is called between the look at the mark and the update that is conditional on it, and raises
        if this process is not the one that may send it any more.
        """
        for _ in range(3):
            mark = await self._mark(name)
            await claim()
            update = self._update(name, mark)
            kind_of_target, value = _record_of(target)
            update.add(name + ".", TTL, kind_of_target, value)
            update.add(_beside(name), TTL, dns.rdatatype.TXT, f'"{self._next(mark)}"')
            try:
                await self._tell(update, name)
            except _Raced:
                continue
            if (there := await self.targets(name)) != {target}:
                led = " and ".join(sorted(there)) or "nowhere"
                raise NameRefused(f"the name server took the update, and {name} leads to {led}")
            return
        raise NameRefused(f"{name} is being changed by somebody else all the time")

    async def remove(self, name: str, claim: Claim) -> None:
        """Remove a name; nothing happens if it is not ours, or not there.

        NameRefused if the name server does not let it go.
        """
        for _ in range(3):
            try:
                mark = await self._mark(name)
            except NameRefused:
                return
            if mark is None:
                return
            await claim()
            update = self._update(name, mark)
            try:
                await self._tell(update, name)
            except _Raced:
                continue
            return
        raise NameRefused(f"{name} is being changed by somebody else all the time")

    async def _mark(self, name: str) -> str | None:
        """Return the mark of a name of ours, None where there is none; NameRefused for another service's."""
        texts = [rdata.to_text().strip('"') for rdata in await self._answers(_beside(name), "TXT")]
        marks = [found for text in texts if (found := _MARK.fullmatch(text))]
        if not marks:
            if texts:
                raise NameRefused(f"{_beside(name)} has a text that is not Cenote's; remove it there")
            return None
        if marks[0]["store"] != self._store_id:
            raise NameRefused(
                f"{name} is kept by another Cenote, of the store {marks[0]['store']}; use another --domain, "
                f"or remove {_beside(name)} there if that is gone"
            )
        return marks[0][0]

    def _next(self, mark: str | None) -> str:
        found = None if mark is None else _MARK.fullmatch(mark)
        number = 1 if found is None else int(found["number"]) + 1
        return f"cenote store={self._store_id} n={number}"

    def _update(self, name: str, mark: str | None) -> dns.update.UpdateMessage:
        """Return an update that removes a name and its mark.

        It is refused unless the mark is this one, or, without a mark, if anything has the name.
        """
        update = dns.update.UpdateMessage(self._zone)
        if mark is None:
            update.absent(name + ".")
            update.absent(_beside(name))
        else:
            update.present(_beside(name), dns.rdatatype.TXT, f'"{mark}"')
        for kind in _KINDS:
            update.delete(name + ".", kind)
        update.delete(_beside(name), dns.rdatatype.TXT)
        return update

    async def _tell(self, update: dns.update.UpdateMessage, name: str) -> None:
        answer = await self._exchange(update)
        match answer.rcode():
            case dns.rcode.NOERROR:
                return
            case dns.rcode.YXDOMAIN:
                if await self._mark(name) is not None:
                    raise _Raced
                raise NameRefused(
                    f"{name} is in the name server already, and is not Cenote's; remove it there, or make "
                    "the cluster anew by another name"
                )
            case dns.rcode.NXRRSET | dns.rcode.YXRRSET | dns.rcode.NXDOMAIN:
                raise _Raced
            case dns.rcode.REFUSED as code:  # it may allow other names
                raise NameRefused(self._refusal(code))
            case code:
                raise NameServerFailed(self._refusal(code))

    async def _answers(
        self, name: str, kind: str | dns.rdatatype.RdataType, *also: dns.rdatatype.RdataType
    ) -> list[dns.rdata.Rdata]:
        query = dns.message.make_query(name.rstrip(".") + ".", kind)
        query.flags &= ~dns.flags.RD
        answer = await self._exchange(query)
        if answer.rcode() not in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
            raise NameServerFailed(self._refusal(answer.rcode()))
        asked = query.question[0].name
        kinds = {query.question[0].rdtype, *also}
        return [
            rdata
            for found in answer.answer
            if found.name == asked and found.rdtype in kinds
            for rdata in found
        ]

    async def _exchange(self, message: dns.message.Message) -> dns.message.Message:
        message.use_tsig(self._key)
        try:
            async with asyncio.timeout(2 * SECONDS):
                address = await self._address()
                answer = await dns.asyncquery.tcp(message, address, timeout=SECONDS, port=self._port)
        except (dns.tsig.PeerBadKey, dns.tsig.PeerBadSignature) as error:
            raise NameServerFailed(
                f"the name server {self._shown} does not know the key {self._key_name} of --dns-key-file, or "
                f"knows it with another secret ({error})"
            ) from None
        except dns.tsig.PeerBadTime:
            raise NameServerFailed(
                f"the clocks of the name server {self._shown} and of this host differ by minutes"
            ) from None
        except (TimeoutError, dns.exception.Timeout):
            raise NameServerFailed(f"the name server {self._shown} does not answer") from None
        except (OSError, EOFError) as error:
            raise NameServerFailed(f"the name server {self._shown} cannot be reached: {error}") from None
        except dns.exception.FormError as error:
            raise NameServerFailed(
                f"the name server {self._shown} gives no signed answer ({error}): it may not be one of the "
                f"zone {self._zone_name}"
            ) from None
        except dns.exception.DNSException as error:
            raise NameServerFailed(f"the name server {self._shown} answers with nonsense: {error}") from None
        if not answer.had_tsig:
            if answer.rcode() in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
                raise NameServerFailed(f"the answer of the name server {self._shown} is not signed")
            raise NameServerFailed(self._refusal(answer.rcode()))
        return answer

    async def _address(self) -> str:
        try:
            return str(ip_address(self._host))
        except ValueError:
            pass
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
        return str(found[0][4][0])

    def _refusal(self, code: dns.rcode.Rcode) -> str:
        why = {
            dns.rcode.REFUSED: f"has not allowed the key {self._key_name} to do it",
            dns.rcode.NOTAUTH: f"is not the primary server of the zone {self._zone_name}",
            dns.rcode.NOTZONE: f"says that the names are not in the zone {self._zone_name}",
            dns.rcode.NOTIMP: "takes no updates",
        }.get(code, "has failed")
        return f"the name server {self._shown} {why} ({dns.rcode.to_text(code)})"


def load() -> None:
    """Load what is otherwise loaded when the first record of a kind comes."""
    dns.rdata.load_all_types()  # type: ignore[no-untyped-call]
    dns.asyncbackend.get_backend("asyncio")


def _beside(name: str) -> str:
    """Return where the mark of a name stands."""
    return f"_cenote.{name}."


def _record_of(target: str) -> tuple[dns.rdatatype.RdataType, str]:
    try:
        address = ip_address(target)
    except ValueError:
        return dns.rdatatype.CNAME, f"{target}."
    kind = dns.rdatatype.A if isinstance(address, IPv4Address) else dns.rdatatype.AAAA
    return kind, str(address)
