"""One question in four languages: which containers of a pod have an image of another registry?"""

from policylang import cel, jmespath, kpattern, rego

POD = {"metadata": {"name": "web"},
       "spec": {"containers": [{"name": "web", "image": "ghcr.io/shop/web:1.4"},
                               {"name": "proxy", "image": "docker.io/envoy:1.31"}]}}

REGO = """
package main
import rego.v1
foreign contains container.name if {
    some container in input.spec.containers
    not startswith(container.image, "ghcr.io/")
}
"""

by_cel = cel.Env(variables={"object": cel.DYN}).compile(
    "object.spec.containers.filter(c, !c.image.startsWith('ghcr.io/')).map(c, c.name)")
by_rego = rego.Policy({"main.rego": REGO}).entry("data.main.foreign")
by_jmespath = jmespath.compile("spec.containers[?!starts_with(image, 'ghcr.io/')].name")
by_pattern = kpattern.matcher({"spec": {"containers": [{"image": "ghcr.io/*"}]}})

print("cel     ", by_cel({"object": POD}))
print("rego    ", rego.to_json(by_rego(POD)))
print("jmespath", by_jmespath(POD))
print("pattern ", by_pattern(POD))
