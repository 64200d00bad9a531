"""``python -m br2focus.plugins.cli``: the same as ``br2focus``."""

from . import main

main()
