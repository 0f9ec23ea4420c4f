"""A log-structured merge-tree engine in pure Python."""
