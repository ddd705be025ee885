"""``python -m cloudml`` is ``cloudml``."""

from cloudml.cli import main

main()
