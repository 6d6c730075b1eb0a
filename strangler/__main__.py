"""``python -m strangler``: the command line, where the script is not on the path."""

from strangler.cli import main

main()
