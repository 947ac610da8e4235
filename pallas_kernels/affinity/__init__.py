"""How high the scores of each cluster reach for each query."""
