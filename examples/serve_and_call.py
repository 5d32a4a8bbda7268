"""Serve a student over HTTP, ask it about an image, and stop it again.

python examples/serve_and_call.py            (in this process)
python examples/serve_and_call.py --ray      (copies on Ray Serve)
"""

import argparse
import json
import urllib.request
from pathlib import Path

from segray.assets import MASK2FORMER_NANO
from segray.config.base import build
from segray.config.serve import ServeConfig
from segray.demo.coco import write_world


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--student", default=str(MASK2FORMER_NANO), help="its folder, or a promoted name's file")
    parser.add_argument("--out", type=Path, default=Path("out/examples/serve"))
    parser.add_argument("--ray", action="store_true", help="on Ray Serve, as a cluster would")
    parser.add_argument("--quick", action="store_true", help="a small scene")
    options = parser.parse_args()

    side = 96 if options.quick else 256
    scenes = write_world(options.out / "scenes", "a", 1, seed=7, size=side).parent / "images"
    picture = next(scenes.iterdir())

    # The same tables as in a config file; port 0 takes a free one. Without keys it listens on this machine only.
    tables = {"job": "serve", "port": 0, "keys": {"kind": "off"}, "student": {"uri": options.student}}
    config = build(ServeConfig, tables, "serve_and_call.py")
    if options.ray:
        from segray.jobs.serve import serving
    else:
        from segray.serving.local import serving_locally as serving

    with serving(config) as address:
        request = urllib.request.Request(
            f"{address}/v1/segment?score_threshold=0.3",
            data=picture.read_bytes(),
            headers={"Content-Type": "image/jpeg", "Accept": "application/json"},
        )
        with urllib.request.urlopen(request) as answer:
            found = json.load(answer)
    instances = found["images"][0]["instances"]
    for one in instances:
        print(f"{one['class']}: score {one['score']:.2f}, {one['area']} pixels")
    print(f"{len(instances)} objects in {picture.name}")


if __name__ == "__main__":
    main()
