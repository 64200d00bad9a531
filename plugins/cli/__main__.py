"""Runs ``br2focus`` as ``python -m br2focus.plugins.cli``."""

from . import main

main()
