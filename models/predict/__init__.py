"""The FLOPs and the memory of a training, predicted from its config alone. Imports no torch."""
