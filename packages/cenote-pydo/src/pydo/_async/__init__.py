"""The client as it is written; ``_sync`` is made from it by ``tools/unasync.py``."""
