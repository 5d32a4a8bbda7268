"""One module per Ray Job, a few lines each over segray.jobs: python -m jobs.label CONFIG."""
