"""File formats: one reader, writer or both per format. Knows rows and masks; knows no models and no Ray."""
