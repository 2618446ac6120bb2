"""Formulas of the pages as MathML, made when the site is built: no script, nothing fetched by the reader."""

import re
from html import unescape

from latex2mathml.converter import convert


def on_page_markdown(markdown: str, **_: object) -> str:
    """Replace ```math blocks and $`inline`$ formulas, the two forms that GitHub renders too."""
    markdown = re.sub(
        r"^```math\n(.*?)\n```$",
        lambda block: f"\n<div>{convert(unescape(block[1]).replace(chr(10), ' '), display='block')}</div>\n",
        markdown,
        flags=re.MULTILINE | re.DOTALL,
    )
    return re.sub(
        r"\$`(.*?)`\$", lambda span: f"<span>{convert(span[1].replace(chr(10), ' '))}</span>", markdown, flags=re.DOTALL
    )
