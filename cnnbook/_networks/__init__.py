"""Keras models as data: read as graphs, and built anew."""
