"""The asyncio client: ``from pydo.aio import Client``."""

from .._async.client import AsyncClient as Client

__all__ = ["Client"]
