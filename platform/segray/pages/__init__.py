"""What reports are made of: the page's frame, charts, masks over images. Knows no models and no Ray."""
