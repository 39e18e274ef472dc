"""The working folder goes last for `python -m jaxhpo`, before anything is imported from it.

Python puts it first. A `random.py` or `typing_extensions.py` of the user must not take the place
of what the libraries import; imported as the package's first module, before JAX.
"""

import sys


def _is_command() -> bool:
    """Whether Python is looking for this package to run it; `argv` says so only until then."""
    named = any(word == "jaxhpo" or word.endswith("mjaxhpo") for word in sys.orig_argv[1:])
    return sys.argv[:1] == ["-m"] and named


if _is_command() and not sys.flags.safe_path:
    sys.path.append(sys.path.pop(0))
