"""Integrations with other libraries; each module imports its library when it is imported."""

__all__: list[str] = []
