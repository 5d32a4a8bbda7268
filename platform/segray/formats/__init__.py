"""File formats: each module holds one format, its reader and its writer. Knows rows and masks; no models and no Ray."""
