"""The SAM families of transformers behind the `Sam` protocol."""
