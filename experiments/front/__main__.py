"""`python -m experiments.front`. Spawned workers import this module too, so it imports the command only if it is run."""

import sys

if __name__ == "__main__":
    from experiments.front.command import main

    sys.exit(main())
