"""How fast this machine is, and how long a step will take on it."""
