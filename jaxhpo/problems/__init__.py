"""Real training problems on data that ships in packages."""

from jaxhpo.problems._digits import Problem as Problem
from jaxhpo.problems._digits import digits as digits
