"""Fails if a dependency's licence is not allowed by deny.toml. Reads `cargo metadata` on stdin.

Understands what crates write: names joined by OR, AND, `/` (an old form of OR) and parentheses.
"""

import json
import re
import sys
import tomllib


def allowed(expression: str, names: set[str]) -> bool:
    """Whether the names satisfy an SPDX expression."""
    while inner := re.search(r"\(([^()]*)\)", expression):
        verdict = "yes" if allowed(inner[1], names) else "no"
        expression = expression.replace(inner[0], verdict)
    return any(
        all(name.strip() in names | {"yes"} for name in choice.split(" AND "))
        for choice in re.split(r" OR |/", expression)
    )


def main() -> int:
    with open(sys.argv[1], "rb") as file:
        names = set(tomllib.load(file)["licenses"]["allow"])
    packages = json.load(sys.stdin)["packages"]
    refused = [
        f"{package['name']} {package['version']}: {package['license'] or 'no licence named'}"
        for package in packages
        if not allowed(package["license"] or "none", names)
    ]
    print("\n".join(refused) or f"{len(packages)} packages, every licence allowed")
    return 1 if refused else 0


if __name__ == "__main__":
    sys.exit(main())
