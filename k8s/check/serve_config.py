"""A RayService's `serveConfigV2`, as Ray reads it, and the config that it leads to."""

import yaml
from ray.serve.schema import ServeDeploySchema

from k8s.check.objects import Object


def deploy_schema(service: Object) -> ServeDeploySchema:
    """What Ray makes of it.

    Raises:
        pydantic.ValidationError: Ray would refuse it.
    """
    return ServeDeploySchema.model_validate(yaml.safe_load(service["spec"]["serveConfigV2"]))


def http_port(service: Object) -> int:
    """Where the endpoint listens."""
    return int(deploy_schema(service).http_options.port)
