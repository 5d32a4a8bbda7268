"""The image and the manifests; `k8s.check` looks them over."""
