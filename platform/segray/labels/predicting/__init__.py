"""The job that labels images with a trained student, whose masks a SAM may sharpen."""
