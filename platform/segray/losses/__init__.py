"""Pure tensor functions: what a student is told. Know nothing of models, data or methods."""
