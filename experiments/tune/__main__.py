"""`python -m experiments.tune`. Spawned workers import this module too, so that it imports the command only where it runs."""

import sys

if __name__ == "__main__":
    from experiments.tune.command import main

    sys.exit(main())
