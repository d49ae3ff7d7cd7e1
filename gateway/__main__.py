"""`python -m gateway`: the command line. Floor 5."""

from gateway.cli import main

main()
