"""Packed bit rows x boolean plans -> eligibility words."""
