"""One model over several processes and devices."""
