"""`python -m fusiqa` is `fusiqa`."""

from fusiqa.cli import main

main()
