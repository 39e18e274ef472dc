"""Storages that are files: SQLite databases and journals."""
