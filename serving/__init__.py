"""Serving: a published snapshot as a service. Reads snapshots; knows nothing of training."""
