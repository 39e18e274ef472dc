"""Progress of long work: displays on the host, and reports out of compiled programs."""

from jaxhpo.progress._device import DeviceReporter as DeviceReporter
from jaxhpo.progress._device import check_not_traced as check_not_traced
from jaxhpo.progress._device import display as display
from jaxhpo.progress._device import report as report
from jaxhpo.progress._reporter import Progress as Progress
from jaxhpo.progress._reporter import Reporter as Reporter
from jaxhpo.progress._reporter import make_reporter as make_reporter
from jaxhpo.progress._reporter import say_if_slow as say_if_slow
from jaxhpo.progress._terminal import printable as printable

__all__ = [
    "DeviceReporter",
    "Progress",
    "Reporter",
    "check_not_traced",
    "display",
    "make_reporter",
    "printable",
    "report",
    "say_if_slow",
]
