"""`python -m experiments.cookbook`: the command, if it is run."""

from experiments.cookbook.command import app

if __name__ == "__main__":
    app()
