"""Scripts of the book; they are no part of the package."""
