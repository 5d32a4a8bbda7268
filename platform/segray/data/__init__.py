"""Images, rows, sources, stores, exports: what is read and written. Knows pyarrow and PIL, no models, no Ray."""
