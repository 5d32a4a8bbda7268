"""What `serve run` and a RayService import; comes with the serving work."""
