"""``cloudml`` and ``python -m cloudml``."""

import sys


def run() -> None:
    """The command line; Ctrl-C while it is still being loaded ends it as Ctrl-C later does."""
    try:
        from cloudml.cli import main

        main()
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    run()
