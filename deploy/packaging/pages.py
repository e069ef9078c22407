"""A page of docs/ as part of a manual page: its headings, text, lists, examples and tables.

A table becomes a list: what its first column names, then what the others say of it. A link that is called as the page
it leads to becomes the name of that page's file; of others the text is kept, and pictures are left out. It must not
know which page it is.
Invariant: what it cannot say in a manual page is an error of the build, never left out in silence.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.tree import SyntaxTreeNode

from deploy.packaging.roff import Page, bold, italic, plain

_MARKDOWN = MarkdownIt("commonmark").enable("table")
_LEFT_OUT = {"image", "html_inline", "html_block"}


def read(path: Path) -> Sequence[SyntaxTreeNode]:
    """The blocks of a page, without its title."""
    blocks = SyntaxTreeNode(_MARKDOWN.parse(path.read_text())).children
    return [block for block in blocks if not (block.type == "heading" and block.tag == "h1")]


def write(blocks: Sequence[SyntaxTreeNode], page: Page, is_whole: bool) -> None:
    """:param is_whole: the blocks are the page, so their headings are its sections; else one section of it."""
    for block in blocks:
        match block.type:
            case "heading":
                title = "".join(_words(block))
                if is_whole and block.tag == "h2":
                    page.section(title)
                else:
                    page.subsection(title)
            case "paragraph":
                if text := inline(block):
                    page.paragraph(text)
            case "fence" | "code_block":
                page.example(block.content.splitlines())
            case "bullet_list" | "ordered_list":
                for entry in block.children:
                    page.point("\n.br\n".join(inline(part) for part in entry.children))
            case "table":
                write_table(block, page)
            case "hr":
                pass
            case kind if kind not in _LEFT_OUT:
                raise ValueError(f"a manual page has no {kind}: {block.content or block.pretty()}")


def write_table(table: SyntaxTreeNode, page: Page) -> None:
    head, *bodies = table.children
    titles = [inline(cell) for cell in head.children[0].children]
    for row in (row for body in bodies for row in body.children):
        tag, *middle, last = [inline(cell) for cell in row.children]
        named = [f"{title}: {cell}" for title, cell in zip(titles[1:], middle, strict=False) if cell]
        page.item(tag or plain("-"), *named, last)


def inline(node: SyntaxTreeNode) -> str:
    """The text in a block, with its emphasis."""
    match node.type:
        case "text":
            return plain(node.content)
        case "code_inline":
            return bold(node.content)
        case "strong" | "em":
            return (bold if node.type == "strong" else italic)("".join(_words(node)))
        case "softbreak" | "hardbreak":
            return "\n"
        case "link":
            return _link(node)
        case "inline" | "paragraph" | "heading" | "th" | "td":
            return "".join(inline(child) for child in node.children)
        case kind if kind in _LEFT_OUT:
            return ""
    raise ValueError(f"a manual page has no {node.type} within a line: {node.content or node.pretty()}")


def _link(node: SyntaxTreeNode) -> str:
    page = str(node.attrs["href"]).partition("#")[0]
    if page == "".join(_words(node)).replace(" ", "-") + ".md":
        return plain(f"docs/{page}")
    return "".join(inline(child) for child in node.children)


def codes(node: SyntaxTreeNode) -> Iterator[str]:
    """What is written as code in a block."""
    return (found.content for found in node.walk() if found.type == "code_inline")


def _words(node: SyntaxTreeNode) -> Iterator[str]:
    return (found.content for found in node.walk() if found.type in ("text", "code_inline"))
