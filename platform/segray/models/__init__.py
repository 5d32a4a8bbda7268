"""Students: the networks that are trained and deployed."""
