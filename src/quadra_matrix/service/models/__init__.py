"""Train, publish and serve models: the main job of the ready service."""
