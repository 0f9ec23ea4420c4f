"""The open store as the flows share it: readers' state, snapshots, open tables, and the parts they hang on."""
