"""Sites and exact costs of every convolutional classification network of torchvision, as a Markdown table.

    python benchmarks/torchvision_table.py > docs/torchvision.md

Costs are for 1,000 classes at 224 x 224 (299 x 299 for Inception v3); "SE" is the paper's default (r = 16, no bias) at
every site, in place of SE blocks that the network has of its own ("own SE").
"""

from __future__ import annotations

from collections import Counter

import torchvision

from se_nas.space.space import SearchSpace

TRANSFORMERS = ("vit_", "swin_", "maxvit_")


def row(name: str) -> str:
    arguments = {"init_weights": False, "aux_logits": False} if name in ("googlenet", "inception_v3") else {}
    size = 299 if name == "inception_v3" else 224
    space = SearchSpace(torchvision.models.get_model(name, **arguments), (3, size, size), reduction=[1])
    kinds = Counter(site.kind for site in space.sites)
    own = sum(bool(site.existing) for site in space.sites)
    shared = [p for p in ("standard", "pre", "post", "identity", "inner") if all(p in site.attachments for site in space.sites)]
    plain, se = space.plain_cost, space.cost(space.reference("paper"))
    sites = ", ".join(f"{count} {kind}" for kind, count in kinds.items()) + (f" ({own} own SE)" if own else "")
    costs = f"{plain.params:,} | {plain.macs:,} | {se.params / plain.params - 1:+.2%} | {se.macs / plain.macs - 1:+.3%}"
    return f"| {name} | {sites} | {', '.join(shared)} | {costs} |"


def main() -> None:
    names = [name for name in torchvision.models.list_models(module=torchvision.models) if not name.startswith(TRANSFORMERS)]
    print(f"# Networks of torchvision {torchvision.__version__}\n")
    print("Made by `python benchmarks/torchvision_table.py`. Costs are exact, for 1,000 classes at 224 x 224 (299 x 299 for")
    print("Inception v3). SE: r = 16 without bias at every site, in place of SE blocks that the network has of its own; the")
    print("plain network is the one without those. Placements are those that every site has. Vision transformers (vit, swin,")
    print("maxvit) are left out.\n")
    print("| network | sites | placements | parameters | MACs | SE: parameters | SE: MACs |")
    print("|---|---|---|--:|--:|--:|--:|")
    for name in names:
        print(row(name), flush=True)


if __name__ == "__main__":
    main()
