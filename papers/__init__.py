"""One folder a paper: the claim, the run, the table."""
