"""The value log: pages in recycled, preallocated segments, found through the index. Start reading at ``layout``."""
