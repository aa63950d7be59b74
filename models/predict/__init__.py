"""What a training costs and holds, from its config alone. Imports no torch."""
