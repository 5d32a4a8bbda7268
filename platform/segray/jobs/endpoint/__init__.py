"""What an endpoint takes of its machine: ports, files, processes."""
