"""The command line's beginning: ``strangler``, and ``python -m strangler`` where the script is not on the path."""

import sys


def main() -> None:
    """Run the command line. Loading it takes up to a second or two, in which Ctrl-C ends it without a word, too."""
    try:
        from strangler.cli import main as run

        run()
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
