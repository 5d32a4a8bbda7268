"""`python -m segray.cli`."""

from segray.cli import main

main()
