"""What MkDocs does not do by itself: pages from all over the repository, with links that work on GitHub and on the site.

A text stays where it belongs, README.md at the top and results/README.md beside its pictures, with links to other files of
the repository. Here each becomes a page, and a link to a file leads to that file's page or copy.
"""

import html
import posixpath
import re
import sys
from pathlib import Path

from latex2mathml.converter import convert
from mkdocs.structure.files import File

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]

import notebook  # noqa: E402

from scripts import document_experiments  # noqa: E402

TEXTS = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs/five_minutes.ipynb")
CODE = re.compile(r"^```.*?^```|`[^`\n]+`", re.M | re.S)
NUMBER = re.compile(r"(?<![\w./-])\d[\d.]*e-\d+(?![\w<])")
LINK = re.compile(r"(?<=\]\()(?!\w+:)([^)#\s]*)(#[^)\s]*)?(?=\))")

homes: dict[str, str] = {}  # the file that a page's links are relative to, by the page


def on_config(config):
    """Lists the experiments in the menu."""
    pages = {document_experiments.label(name): page_of(name) for name in document_experiments.pages()}
    menu = next(entry for entry in config.nav if "Experiments" in entry)
    menu["Experiments"] = [pages.pop("Index"), *({name: page} for name, page in pages.items())]
    return config


def page_of(experiment):
    """The page of an experiment, in the folder of pages."""
    return f"experiments/{experiment}.md"


def on_files(files, config):
    """Adds the pages that are made here, and whatever a page links to."""
    homes.clear()
    homes.update({file.src_uri: f"docs/{file.src_uri}" for file in files.documentation_pages()})
    queue = [(file.src_uri, file.content_string) for file in files.documentation_pages()]
    made = [(page_of(name), document_experiments.HOME, text) for name, text in document_experiments.pages().items()]
    made += [(address(path), path, text_of(path)) for path in TEXTS]
    while made or queue:
        for uri, home, text in made:
            homes[uri] = home
            files.append(File.generated(config, uri, content=text))
            queue.append((uri, text))
        uri, text = queue.pop()
        paths = {target(homes[uri], link[1]) for link in LINK.finditer(CODE.sub("", text))}
        wanted = sorted(path for path in paths if (ROOT / path).is_file() and address(path) not in files.src_uris)
        made = [(address(path), path, text_of(path)) for path in wanted if address(path).endswith(".md")]
        for path in wanted:
            if not address(path).endswith(".md"):
                files.append(File.generated(config, address(path), abs_src_path=str(ROOT / path)))
    return files


def address(path, anchor=""):
    """Where a file of the repository is on the site, in MkDocs' own terms: README.md is at index.md."""
    if path == document_experiments.HOME:
        name = anchor.removeprefix("#")
        return page_of(name if name in document_experiments.pages() else "index")
    if path == "README.md":
        return "index.md"
    if path.endswith(".py"):
        return f"source/{path}.md"
    return path.removeprefix("docs/").replace(".ipynb", ".md")


def text_of(path):
    """The page that a file of the repository becomes, as Markdown."""
    text = (ROOT / path).read_text(encoding="utf-8")
    if path.endswith(".py"):
        return f"# {path}\n\n```python\n{text}```\n"
    if path.endswith(".ipynb"):
        return notebook.markdown(text)
    return text if re.match(r"# |<", text) else f"# {path}\n\n{text}"


def target(home, link):
    """The file of the repository that a link in another leads to."""
    return posixpath.normpath(posixpath.join(posixpath.dirname(home), link)) if link else home


def on_page_markdown(markdown, page, config, files):
    """Turns links to files of the repository into links to their pages and copies."""
    del config
    uri = page.file.src_uri

    def moved(link):
        path, anchor = target(homes[uri], link[1]), link[2] or ""
        place = address(path, anchor)
        if (not link[1] and place == uri) or place not in files.src_uris:
            return link[0]
        kept = "" if place != address(path) else anchor
        return posixpath.relpath(place, posixpath.dirname(uri) or ".") + kept

    pieces = re.split(f"({CODE.pattern})", markdown, flags=CODE.flags)
    return "".join(piece if CODE.fullmatch(piece) else LINK.sub(moved, piece) for piece in pieces)


def on_page_content(content, page, config, files):
    """Writes formulas as MathML, which browsers set by themselves, and keeps numbers such as 1e-7 in one piece."""
    del page, config, files
    content = re.sub(r"<td[ >].*?</td>", lambda cell: NUMBER.sub(r'<span class="number">\g<0></span>', cell[0]), content)
    content = re.sub(r'<span class="arithmatex">\\\((.*?)\\\)</span>', lambda found: formula(found[1], "inline"), content)
    return re.sub(
        r'<div class="arithmatex">\\\[(.*?)\\\]</div>', lambda found: formula(found[1], "block"), content, flags=re.S
    )


def formula(latex, display):
    """A formula as MathML."""
    return convert(html.unescape(latex).strip(), display=display)
