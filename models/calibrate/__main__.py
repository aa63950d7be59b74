"""`python -m models.calibrate`: measures this machine."""

from models.calibrate.command import main

if __name__ == "__main__":
    main()
