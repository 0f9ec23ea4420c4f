"""What is kept and for how long: the division of the capacity, and which segment goes first."""
