"""How long work says what it is doing: reporters, and numbers out of compiled programs."""

from jaxhpo.progress._device import Watch as Watch
from jaxhpo.progress._device import display as display
from jaxhpo.progress._device import refuse_traced as refuse_traced
from jaxhpo.progress._device import tick as tick
from jaxhpo.progress._reporter import Progress as Progress
from jaxhpo.progress._reporter import Reporter as Reporter
from jaxhpo.progress._reporter import make_reporter as make_reporter
from jaxhpo.progress._reporter import told_if_slow as told_if_slow
from jaxhpo.progress._terminal import printable as printable

__all__ = [
    "Progress",
    "Reporter",
    "Watch",
    "display",
    "make_reporter",
    "printable",
    "refuse_traced",
    "tick",
    "told_if_slow",
]
