"""Helpers for the cnnbook textbook: one module per chapter, one function per equation."""

__version__ = "0.1.0"
