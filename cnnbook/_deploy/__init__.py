"""Files that run without Keras: how they are written and run."""
