"""The job that turns boxes and points, which a source has for its images, into masks by SAM."""
