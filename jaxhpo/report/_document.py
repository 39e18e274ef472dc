"""One HTML file of headings, notes, tables and figures, which opens without a network."""

from __future__ import annotations

import html
import json
from collections.abc import Iterable, Sequence
from typing import Any

from jaxhpo.report._traces import Figure

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #2b3440; max-width: 62rem; margin: 2rem auto;
       padding: 0 1rem; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.2rem; margin-top: 2.5rem; }
table { border-collapse: collapse; } td, th { padding: .25rem .8rem .25rem 0; text-align: left;
  border-bottom: 1px solid #dde2e7; vertical-align: top; overflow-wrap: anywhere; }
.note { color: #5a6672; font-size: .9rem; } .number { font-variant-numeric: tabular-nums; }
"""


class Page:
    """Collects sections; each figure gets an element and a call that draws it."""

    def __init__(self) -> None:
        self.parts: list[str] = []
        self.draws: list[str] = []

    def heading(self, text: str) -> None:
        self.parts.append(f"<h2>{html.escape(text)}</h2>")

    def note(self, text: str) -> None:
        self.parts.append(f'<p class="note">{html.escape(text)}</p>')

    def table(self, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
        head = "".join(f"<th>{html.escape(column)}</th>" for column in columns)
        body = "".join(
            f"<tr>{''.join(f'<td>{html.escape(_text(cell))}</td>' for cell in row)}</tr>"
            for row in rows
        )
        self.parts.append(f'<table class="number"><tr>{head}</tr>{body}</table>')

    def figure(self, figure: Figure) -> None:
        name = f"figure-{len(self.draws)}"
        self.parts.append(f'<div id="{name}" class="figure"></div>')
        # A text of the study may hold "</script>"; escaped, it cannot end the script.
        data, layout = (json.dumps(part).replace("<", "\\u003c") for part in figure)
        self.draws.append(f'Plotly.newPlot("{name}", {data}, {layout}, {{responsive: true}});')


def plotly_script() -> str:
    """Plotly's own script, to be put into the file; an error that names the command if missing."""
    try:
        from plotly.offline import get_plotlyjs
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            'report: plotly is needed for the figures: pip install "jaxhpo[plot]".'
        ) from error
    script: str = get_plotlyjs()
    return script


def document(title: str, page: Page, script: str) -> str:
    """The whole file as text."""
    title = html.escape(title)
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f"<style>{_STYLE}</style></head><body><h1>{title}</h1>{''.join(page.parts)}"
        f"<script>{script}</script><script>{''.join(page.draws)}</script></body></html>"
    )


def _text(cell: Any) -> str:
    if cell is None:
        return "–"
    if isinstance(cell, float):
        return f"{cell:.{6 if abs(cell) < 1e6 else 15}g}"
    return str(cell)
