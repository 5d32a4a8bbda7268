"""Views of images and what mixing does to them, keyed per image."""
