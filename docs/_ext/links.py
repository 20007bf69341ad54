"""Check that every link within a built site leads to a file and a place in it.

Sphinx checks the links that it makes itself. This also sees those of templates and raw HTML, and
what a page would load from another host::

    python docs/_ext/links.py build/site
"""

import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit


class _Page(HTMLParser):
    """The places of a page, its links, and what it loads."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.places: set[str] = set()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = {name: value for name, value in attributes if value}
        self.places |= {given[name] for name in ("id", "name") if name in given}
        self.links += [given[name] for name in ("href", "src") if name in given]
        if "src" in given or (tag == "link" and "href" in given):
            self.loaded.append(given.get("src") or given["href"])


def broken_links(site: Path) -> list[str]:
    """What leads nowhere, and what is loaded from another host, as ``page: link``."""
    pages = {path: _Page(path.read_text()) for path in site.rglob("*.html")}
    broken = []
    for path, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                is_broken = parts.scheme != "data" and link in page.loaded
            else:
                target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
                target = target / "index.html" if target.is_dir() else target
                places = pages[target].places if target in pages else {""}
                place = unquote(parts.fragment) if target.suffix == ".html" else ""
                is_broken = not target.exists() or (place not in places | {""})
            if is_broken:
                broken.append(f"{path.relative_to(site)}: {link}")
    return broken


if __name__ == "__main__":
    found = broken_links(Path(sys.argv[1]).resolve())
    print("\n".join(found) or "every link within the site leads somewhere")
    sys.exit(bool(found))
