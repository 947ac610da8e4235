"""Masked int8 inner products over probed clusters -> top k."""
