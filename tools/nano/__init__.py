"""Training of the nano models that ship with segray."""
