"""Clusters by affinity x boolean plans x masked int8 inner products -> top k."""
