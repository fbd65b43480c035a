"""Stands in for requests in docs/cookbook.md: there is every page but those whose address ends with /missing."""
from types import SimpleNamespace


class Session:
    def get(self, address, timeout):
        return SimpleNamespace(status_code=404 if address.endswith("/missing") else 200)
