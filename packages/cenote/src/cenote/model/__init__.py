"""Immutable records and the facts about them; nothing here does I/O."""
