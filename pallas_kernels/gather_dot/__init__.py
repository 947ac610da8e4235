"""Inner products of the rows of a table with vectors of each request."""
