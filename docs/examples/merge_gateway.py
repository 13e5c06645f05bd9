#!/usr/bin/env python3
"""Adds the payment routes of krakend.json to a KrakenD file that exists, and leaves its other routes alone.

Usage: STORE_MANAGER_API_KEY=... merge_gateway.py EXISTING MERGED [TEMPLATE]

A route of EXISTING with the same endpoint and method as one of the payment routes is replaced. TEMPLATE is krakend.json of
this repository; its variables are read from the environment (.env.example has them with their defaults).
"""

import json
import os
import pathlib
import re
import sys

VARIABLE = re.compile(r'\{\{-?\s*env\s+"(\w+)"\s*(?:\|\s*default\s+"([^"]*)"\s*)?-?\}\}')


def value(match):
    name, default = match.groups()
    found = os.environ.get(name) or default
    if found is None:
        sys.exit(f"{name} is missing: `payment-service keys` makes an API key")
    return found


def payment_routes(template):
    """The endpoints whose backend is this service, with their variables filled in."""
    text = template.read_text(encoding="utf-8")
    start = text.index('"endpoints":') + len('"endpoints":')
    endpoints, _ = json.JSONDecoder().raw_decode(unquoted(text[start:]).lstrip())
    backend = '{{ env "PAYMENTS_API_URL"'
    routes = [route for route in endpoints if backend in restored(json.dumps(route))]
    filled = VARIABLE.sub(value, restored(json.dumps(routes)))
    if "{{" in filled:
        sys.exit(f"{template} has an expression that this program cannot fill in")
    return json.loads(filled)


def unquoted(text):
    """JSON with each variable as a word that JSON allows where it stands: as a part of a string, or as a value."""
    marked = VARIABLE.sub(lambda found: "<<" + found.group().encode().hex() + ">>", text)
    return re.sub(r'(:\s*)(<<[0-9a-f]+>>)', r'\1"!\2!"', marked)


def restored(text):
    text = re.sub(r'"!(<<[0-9a-f]+>>)!"', r"\1", text)
    return re.sub(r"<<([0-9a-f]+)>>", lambda found: bytes.fromhex(found.group(1)).decode(), text)


def name(route):
    return route.get("method", "GET"), route["endpoint"]


def main():
    if len(sys.argv) not in (3, 4):
        sys.exit(__doc__)
    existing, merged = map(pathlib.Path, sys.argv[1:3])
    beside = pathlib.Path(__file__).resolve().parents[2] / "krakend.json"
    template = pathlib.Path(sys.argv[3]) if len(sys.argv) == 4 else beside
    gateway = json.loads(existing.read_text(encoding="utf-8"))
    ours = payment_routes(template)
    names = {name(route) for route in ours}
    before = gateway.get("endpoints", [])
    kept = [route for route in before if name(route) not in names]
    replaced = {name(route) for route in before} & names
    gateway["endpoints"] = kept + ours
    merged.write_text(json.dumps(gateway, indent=2) + "\n", encoding="utf-8")
    for route in kept:
        print("kept", *name(route))
    for route in ours:
        print("replaced" if name(route) in replaced else "added", *name(route))


if __name__ == "__main__":
    main()
