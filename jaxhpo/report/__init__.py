"""One HTML file that says what a study searched and what it found."""

from jaxhpo.report._page import write_report as write_report

__all__ = ["write_report"]
