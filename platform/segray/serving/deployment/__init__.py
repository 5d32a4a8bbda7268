"""The Ray Serve application: deployments of the student, the SAM for clicks and the ingress."""
