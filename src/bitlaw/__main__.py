"""`python -m bitlaw`: the command line, where the program `bitlaw` is not on the path."""

from bitlaw.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main())
