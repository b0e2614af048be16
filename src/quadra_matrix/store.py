"""The Store protocols that features need; at most four methods each."""
