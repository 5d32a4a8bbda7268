"""Looks manifests over before a cluster does: `python -m k8s.check k8s/overlays/gpu`.

Every check is a function from rendered objects to problems in words; none needs a cluster. `schemas` and `cel` know
what the API server would refuse, `operator` what KubeRay and Kueue would, `pods`, `references` and `jobs` what would
only show once it runs; `dockerfile` lints the image, `image` installs it as its Dockerfile says, `dashboard` knows
which metrics there are.
"""
