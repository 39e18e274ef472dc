"""Traced code: numbers that Python must know, programs of user functions, manual sharding."""
