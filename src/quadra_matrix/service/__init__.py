"""The ready service: train, predict, watch; the first user of every other room."""
