"""What the pictures of chapters are drawn with."""
