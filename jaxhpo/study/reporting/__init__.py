"""Objectives that report as they go, and that can be closed and taken up again."""
