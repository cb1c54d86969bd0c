"""Where artifacts come from: stores, the disk tier before them, and the memory tier before that."""
