"""Drivers of other languages and systems, tried through a pool: see ``__main__``."""
