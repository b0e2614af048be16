"""The values that stores keep, and the Store protocols that features need; at most four methods each."""
