"""Read a page as a browser would: which elements there are, and what they ask for."""

from __future__ import annotations

import html.parser


class PageReader(html.parser.HTMLParser):
    """Collects tags, handlers and everything that could cause a request."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.handlers: list[str] = []
        self.links: list[str] = []
        self.outward: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note a tag and its attributes."""
        self.tags.append(tag)
        self.handlers += [name for name, _ in attrs if name.startswith("on")]
        asked = dict(attrs)
        if tag == "a" and "noopener" in (asked.get("rel") or ""):  # a reader may follow it; the page does not
            self.outward.append(asked.pop("href") or "")
            attrs = list(asked.items())
        names = ("src", "href", "xlink:href", "action", "srcset", "data", "formaction")
        self.links += [value or "" for name, value in attrs if name in names]

    def asks_for_nothing(self) -> bool:
        """Whether every link stays on the page."""
        outward = all(link.startswith(("http://", "https://")) for link in self.outward)
        return outward and all(link.startswith(("#", "data:image/", "data:,")) for link in self.links)
