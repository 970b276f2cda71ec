"""The sync client, made from ``_async`` by ``tools/unasync.py``; nothing here is written by hand."""
