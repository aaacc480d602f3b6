"""`python -m trainkit` is the `trainkit` command."""

from trainkit.cli import main

main()
