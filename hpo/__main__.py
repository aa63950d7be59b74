"""`python -m hpo`: the command line of hpo/cli."""

import sys

from hpo.cli import main

if __name__ == "__main__":
    sys.exit(main())
