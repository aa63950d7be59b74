"""Unexpected improvements to expected improvement."""
