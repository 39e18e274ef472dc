"""Durable studies of any Python objective."""
