"""Training jobs: the queue, the runner, and the executors that give every job a process of its own."""
