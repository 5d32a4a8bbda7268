"""Images: decoding every kind of file to RGB pixels, and finding near duplicates. Knows no models."""
