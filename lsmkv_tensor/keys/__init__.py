"""Which page is which: token ids to digests to index keys, and the way from a page to everything below it. No I/O."""
