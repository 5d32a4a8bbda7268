"""Better instances from instances and an image, with the help of a Sam. Knows no method."""
