"""RF-DETR as a student of instances."""
