"""Weighted sums of rows of an int8 table."""
