"""XMP sidecars beside images: ratings, labels and keywords for photo management programs.

Other contents of a sidecar are preserved: it is parsed without resolving namespaces, so that prefixes, declarations,
comments and order are written back unchanged, and only a rating, a label and keywords of fusiqa change.

Source: ISO 16684-1:2019, XMP, part 1 (data model, serialisation, core properties).
"""

from __future__ import annotations

import mmap
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple
from xml.etree import ElementTree
from xml.etree.ElementTree import Element
from xml.parsers import expat

from fusiqa.errors import FusiqaError
from fusiqa.io import write_atomically
from fusiqa.scoring.exif import rating_in
from fusiqa.scoring.image import SIDECAR_ENDING

Naming = Literal["full", "stem"]
"""How a sidecar is named: IMG_1.CR3.xmp or IMG_1.xmp."""
SPACES = {
    "rdf": "http://www.w3.org/1999/02/22-rdf-syntax-ns#",
    "xmp": "http://ns.adobe.com/xap/1.0/",
    "dc": "http://purl.org/dc/elements/1.1/",
    "lr": "http://ns.adobe.com/lightroom/1.0/",
    "digiKam": "http://www.digikam.org/ns/1.0/",
    "fusiqa": "https://github.com/fusiqa/fusiqa/ns/1.0/",
}
RATING, LABEL, UNRATED = "xmp:Rating", "xmp:Label", "0"
OURS = {RATING: "fusiqa:Rating", LABEL: "fusiqa:Label"}  # copies of what fusiqa wrote, to detect changes by people
KEYWORDS, TREES = "dc:subject", ("lr:hierarchicalSubject", "digiKam:TagsList")  # plain, and with parents
LISTS = {KEYWORDS: "rdf:Bag", TREES[0]: "rdf:Bag", TREES[1]: "rdf:Seq"}
KEYWORD = "fusiqa:"  # prefix of every keyword of fusiqa
PACKET = b"<x:xmpmeta", b"</x:xmpmeta>"  # within an image
LARGEST_SIDECAR, DEEPEST = 64 * 2**20, 100  # bytes of a sidecar, and elements within each other
NEW = (
    b'<?xml version="1.0" encoding="UTF-8"?>\n<x:xmpmeta xmlns:x="adobe:ns:meta/">'
    b'<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about=""/></rdf:RDF>'
    b"</x:xmpmeta>\n"
)


@dataclass(frozen=True)
class Marks:
    """What is written to the sidecar of an image.

    Attributes:
        rating: 1 to 5.
        label: a colour such as "Green", or None.
        keywords: without the "fusiqa:" that each gets.
        properties: more values by name, such as Score, in fusiqa's own namespace.
    """

    rating: int
    label: str | None = None
    keywords: Sequence[str] = ()
    properties: Mapping[str, str] = field(default_factory=dict)


def sidecar_of(image: Path, naming: Naming) -> Path:
    """The path of the sidecar of an image; an existing one may end in .XMP."""
    wanted = image.with_name(image.name + SIDECAR_ENDING) if naming == "full" else image.with_suffix(SIDECAR_ENDING)
    capitals = wanted.with_suffix(SIDECAR_ENDING.upper())
    return capitals if os.path.exists(capitals) and not os.path.exists(wanted) else wanted


def write_sidecar(image: Path, marks: Marks, *, naming: Naming, overwrite_ratings: bool) -> str:
    """Write or update the sidecar of an image, atomically. Returns which values of a person were kept, or "".

    A rating or label that fusiqa did not write stays unless `overwrite_ratings`. One in the image itself, or in its
    sidecar of the other naming, is copied, and so are keywords there, because programs that read the sidecar ignore
    them. Raises FusiqaError for invalid XMP, OSError where a file cannot be read or written.
    """
    path = Path(os.path.realpath(sidecar_of(image, naming)))
    before = _content(path) if os.path.exists(path) else b""
    packet, hidden = Packet(before or NEW, path.name), list(_beside(image, path))
    kept = []
    for name, value in ((RATING, str(marks.rating)), (LABEL, marks.label)):
        found, ours = packet.value(name), packet.value(OURS[name])
        if ours is None and found in (None, UNRATED):
            elsewhere = [other.value(name) for other in hidden if other.value(name) != other.value(OURS[name])]
            elsewhere += [str(stars)] if name == RATING and (stars := rating_in(str(image))) else []
            found = next((each for each in elsewhere if each not in (None, UNRATED)), None)
        if found != ours and not overwrite_ratings:
            kept.append(f"{name} {found or 'none'}")
            if found != packet.value(name):
                packet.set(name, found)
        else:
            packet.set(name, value)
            packet.set(OURS[name], value)
    for name, text in marks.properties.items():
        packet.set(f"fusiqa:{name}", text)
    packet.set_keywords([KEYWORD + each for each in marks.keywords], hidden)
    after = packet.serialised(indented=not before)
    if after != before:
        write_atomically(path, lambda temporary: _write(temporary, after, like=path))
    return f"kept {', '.join(kept)}" if kept else ""


def _write(temporary: Path, content: bytes, *, like: Path) -> None:
    temporary.write_bytes(content)
    if like.exists():
        shutil.copymode(like, temporary)


def _content(path: Path) -> bytes:
    size = path.stat().st_size
    if size > LARGEST_SIDECAR:
        raise FusiqaError(f"{path.name} has {size:,} bytes; a sidecar has {LARGEST_SIDECAR:,} at most")
    return path.read_bytes()


def _beside(image: Path, sidecar: Path) -> Iterator[Packet]:
    """The other packets of an image: in the sidecar of the other naming, and in the image itself."""
    for other in (sidecar_of(image, "full"), sidecar_of(image, "stem")):
        if other.is_file() and Path(os.path.realpath(other)) != sidecar:
            yield Packet(_content(other), other.name)
    with open(image, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        start, end = (content.find(mark) for mark in PACKET)
        inside = content[start : end + len(PACKET[1])] if 0 <= start < end else b""
    if inside:
        with suppress(FusiqaError):  # malformed XMP counts as none
            yield Packet(inside, image.name)


Scope = Mapping[str, str]
"""The namespace of each prefix."""


class Reader:
    """Reads a packet without resolving its namespaces, and stores where its tree begins and ends."""

    def __init__(self, content: bytes, name: str) -> None:
        self.content, self.name = content, name
        self.depth, self.start, self.end = 0, -1, 0
        self.builder = ElementTree.TreeBuilder(insert_comments=True, insert_pis=True)
        self.parser = expat.ParserCreate()
        self.parser.buffer_text = True
        self.parser.StartElementHandler, self.parser.EndElementHandler = self._begin, self._close
        self.parser.CharacterDataHandler = self.builder.data
        self.parser.CommentHandler = lambda text: self.builder.comment(text) if self.depth else None
        self.parser.ProcessingInstructionHandler = lambda *words: self.builder.pi(*words) if self.depth else None
        self.parser.XmlDeclHandler, self.parser.StartDoctypeDeclHandler = self._declared, self._document_type

    def tree(self) -> Element:
        """The root. Raises FusiqaError for what is not XML in UTF-8."""
        try:
            self.content.decode("utf-8")
            self.parser.Parse(self.content, True)
        except (expat.ExpatError, UnicodeDecodeError) as reason:
            raise FusiqaError(f"{self.name} is not XML in UTF-8: {reason}") from reason
        return self.builder.close()

    def _begin(self, tag: str, attributes: dict[str, str]) -> None:
        if not self.depth:
            self.start = self.parser.CurrentByteIndex
        self.depth += 1
        if self.depth > DEEPEST:
            raise FusiqaError(f"{self.name} is not XMP: its elements lie more than {DEEPEST} deep")
        self.builder.start(tag, attributes)

    def _close(self, tag: str) -> None:
        self.depth -= 1
        self.end = self.content.index(b">", self.parser.CurrentByteIndex) + 1
        self.builder.end(tag)

    def _declared(self, version: str, encoding: str | None, standalone: int) -> None:
        if (encoding or "utf-8").lower() not in ("utf-8", "us-ascii"):
            raise FusiqaError(f"{self.name} is in {encoding}; only sidecars in UTF-8 are changed")

    def _document_type(self, *_: object) -> None:
        raise FusiqaError(f"{self.name} is not XMP: it declares a document type")


class Found(NamedTuple):
    """The place of a property: an attribute of a description, under its name there, or an element."""

    description: Element
    attribute: str
    element: Element | None


class Packet:
    """An XMP packet: a tree with unresolved names, and the bytes before and after it."""

    def __init__(self, content: bytes, name: str) -> None:
        """Read a packet. Raises FusiqaError, which names it, for what is not XMP in UTF-8."""
        reader = Reader(content, name)
        self.root = reader.tree()
        self.before, self.after = content[: reader.start], content[reader.end :]
        self.descriptions = list(self._descriptions())
        if not self.descriptions:
            raise FusiqaError(f"{name} is not XMP: it holds no rdf:Description")

    def _descriptions(self) -> Iterator[tuple[Element, Scope]]:
        """The elements that hold the properties, each with the namespaces of the prefixes in it."""
        outer = scope_in(self.root, {})
        for graph in (self.root, *self.root):
            scope = scope_in(graph, outer)
            if means(graph.tag, scope) == "rdf:RDF":
                for each in graph:
                    if means(each.tag, inner := scope_in(each, scope)) == "rdf:Description":
                        yield each, inner

    def serialised(self, *, indented: bool) -> bytes:
        """The packet as bytes."""
        if indented:
            ElementTree.indent(self.root, " ")
        # The writer leaves carriage returns as they are, and a reader would take them for line ends.
        text = ElementTree.tostring(self.root, encoding="unicode").replace("\r", "&#13;")
        return self.before + text.encode() + self.after

    def find(self, name: str) -> Found | None:
        """The place of a property such as "xmp:Rating"."""
        for description, scope in self.descriptions:
            for attribute in description.attrib:
                if means(attribute, scope) == name:
                    return Found(description, attribute, None)
            for element in description:
                if means(element.tag, scope_in(element, scope)) == name:
                    return Found(description, "", element)
        return None

    def value(self, name: str) -> str | None:
        """The value of a simple property; None without."""
        found = self.find(name)
        if found is None:
            return None
        text = found.description.attrib[found.attribute] if found.element is None else "".join(found.element.itertext())
        return text.strip() or None

    def set(self, name: str, value: str | None) -> None:
        """Give a simple property a value; None removes it."""
        found = self.find(name)
        if found is None and value is not None:
            self.descriptions[0][0].set(self._written(name), value)
        elif found is not None and value is None:
            found.description.attrib.pop(found.attribute, None)
            if found.element is not None:
                found.description.remove(found.element)
        elif found is not None and value is not None:
            if found.element is None:
                found.description.set(found.attribute, value)
            else:
                found.element[:] = []
                found.element.text = value

    def _written(self, name: str) -> str:
        """A name with the prefix of its namespace in the first description, where one is declared if needed."""
        description, scope = self.descriptions[0]
        space, _, local = name.partition(":")
        known = [prefix for prefix, uri in scope.items() if prefix and uri == SPACES[space]]
        prefix = known[0] if known else space
        while not known and prefix in scope:
            prefix += "_"
        if not known:
            description.set(f"xmlns:{prefix}", SPACES[space])
            self.descriptions[0] = description, {**scope, prefix: SPACES[space]}
        return f"{prefix}:{local}"

    def items(self, name: str) -> list[str]:
        """The texts of a list of keywords."""
        return ["".join(item.itertext()).strip() for item in self._list(name)]

    def _list(self, name: str) -> list[Element]:
        found = self.find(name)
        inside = [] if found is None or found.element is None else list(found.element)
        return [item for container in inside for item in container if isinstance(item.tag, str)]

    def set_keywords(self, ours: Sequence[str], hidden: Sequence[Packet]) -> None:
        """Replace the keywords of fusiqa in every existing list of keywords.

        Programs read the first list that they find, each in its own order. So a list that holds only fusiqa's keywords
        gets the others too, from the plain list, and a new list those of the `hidden` packets.
        """
        if not ours and not any(each.startswith(KEYWORD) for each in self.items(KEYWORDS)):
            return
        lists = {name: next(filter(None, (each.items(name) for each in (self, *hidden))), []) for name in LISTS}
        theirs = {name: [each for each in lists[name] if not each.startswith(KEYWORD)] for name in LISTS}
        for name in (KEYWORDS, *([name for name in TREES if lists[name]] or TREES[:1])):
            self._set_list(name, [*(theirs[name] or theirs[KEYWORDS]), *ours])

    def _set_list(self, name: str, texts: Sequence[str]) -> None:
        found = self.find(name)
        if found is None:
            element = ElementTree.SubElement(self.descriptions[0][0], self._written(name))
            container = ElementTree.SubElement(element, self._written(LISTS[name]))
        elif found.element is None or not len(found.element):
            raise FusiqaError(f"{name} is not a list of keywords")
        else:
            container = found.element[0]
        for item in self._list(name):
            if "".join(item.itertext()).strip() not in texts:
                container.remove(item)
        there = self.items(name)
        for text in texts:
            if text not in there:
                ElementTree.SubElement(container, self._written("rdf:li")).text = text


def scope_in(element: Element, outer: Scope) -> Scope:
    """The namespace of each prefix within an element; that of the prefix "" is the default."""
    declared = {
        name.partition(":")[2]: uri for name, uri in element.attrib.items() if name.partition(":")[0] == "xmlns"
    }
    return {**outer, **declared}


def means(name: object, scope: Scope) -> str:
    """A name with its prefix in `SPACES`, such as "xmp:Rating" for xap:Rating; "" for other names and for comments."""
    if not isinstance(name, str):
        return ""
    prefix, _, local = name.rpartition(":")
    return next((f"{space}:{local}" for space, uri in SPACES.items() if uri == scope.get(prefix)), "")
