"""PBT's two-parameter example."""
