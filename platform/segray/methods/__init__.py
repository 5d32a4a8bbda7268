"""The methods by name. Each is a folder: its config, its objective, and the parts that only it uses."""
