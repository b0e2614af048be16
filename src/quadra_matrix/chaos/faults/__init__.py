"""What can be broken. ``port`` says what a fault is; each other file is one way to break something."""
