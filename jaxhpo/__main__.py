"""Lets `python -m jaxhpo` stand for the `jaxhpo` script."""

from jaxhpo.cli import main

main()
