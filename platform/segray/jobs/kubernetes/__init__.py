"""Jobs as KubeRay's objects: what a job asks a cluster for, whether the cluster can give it, and the YAML."""
