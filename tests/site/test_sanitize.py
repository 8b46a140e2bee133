"""What a stranger's notebook or run says is shown, and runs nothing, asks no other host, and covers no page."""

import ast
from types import SimpleNamespace

import nbformat
import pytest
import sites
from bs4 import BeautifulSoup
from nbformat.v4 import new_output

from cifar_lib import paths, site
from cifar_lib.notebook import MIME
from cifar_lib.site import sanitize
from cifar_lib.site.sanitize import SiteError

PIXEL = f"data:image/png;base64,{sites.PIXEL}"
SVG = '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" width="9pt" height="9pt"'
ATTACKS = {
    "script": "<script>alert(1)</script>",
    "event": "<img src=x onerror=alert(1)>",
    "link": "<a href='javascript:alert(1)'>go</a>",
    "xlink": "<svg><a xlink:href='javascript:alert(1)'><text>go</text></a></svg>",
    "tab": "<a href='java&#9;script:alert(1)'>go</a>",
    "formaction": "<button formaction='javascript:alert(1)'>go</button><input formaction='javascript:alert(1)'>",
    "image": "<svg><image href='https://example.org/a.png'/><image xlink:href='//example.org/b.png'/></svg>",
    "poster": "<video poster='https://example.org/a.png'></video>",
    "use": "<svg><use href='data:image/svg+xml;base64,AAAA#a'/></svg>",
    "foreign": "<svg><foreignObject><iframe srcdoc='<script>alert(1)</script>'></iframe></foreignObject></svg>",
    "animation": "<svg><a><animate attributeName='href' values='javascript:alert(1)'/><text>go</text></a></svg>",
    "picture": "<picture><source srcset='https://example.org/a.png'><img src='https://example.org/b.png'></picture>",
    "background": "<table background='https://example.org/a.png'><tr><td>cell</td></tr></table>",
    "style": "<p style='background: url(https://example.org/a.png)'>p</p><style>@import '//example.org'</style>",
    "paint": "<svg><rect fill='u\\72l(https://example.org/a.svg#a)' style='fill: url(https://example.org/a.svg#a)'/></svg>",
    "cover": "<a href='https://example.org' style='position: fixed; inset: 0; opacity: 0'>over all</a>",
    "formula": "$\\text{&lt;img/src=x/onerror=alert(1)&gt;}$",
    "formula's link": "$\\href{javascript:alert(1)}{x}$",
    "math": "<math><mtext><table><mglyph><style><img src=x onerror=alert(1)></style></mglyph></table></mtext></math>",
}


def publish(folder, outputs: list[dict], **facts):
    """The site of a run that says `facts` of its environment, and the first page of which shows `outputs`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(paths, "RUNS", folder)
        run = sites.finished("foreign")
        run.record("environment.json", run.environment | facts)
        (run.folder / "SHA256SUMS").unlink()
        bad = sites.notebook(1)
        bad.cells[3].outputs = [new_output("display_data", output) for output in outputs]
        nbformat.write(bad, folder / "01_first.ipynb")
        return site.publish(run, [folder / "01_first.ipynb"], sites.mistakes(3)).parent


@pytest.fixture(scope="module")
def outputs(tmp_path_factory):
    """What the page shows of each attack, once given as HTML and once as Markdown."""
    kinds = [(name, kind) for name in ATTACKS for kind in ("text/html", "text/markdown")]
    given = [{kind: f"<p>bold</p>\n\n{ATTACKS[name]}"} for name, kind in kinds]
    areas = sites.page(publish(tmp_path_factory.mktemp("runs"), given), "01_first").select(".output_area")[: len(kinds)]
    return dict(zip(kinds, areas, strict=True))


KNOWN = {"a", "b", "br", "button", "code", "dd", "details", "div", "dl", "dt", "em", "figcaption", "figure", "h1", "h2"}
KNOWN |= {"h3", "header", "image", "img", "li", "main", "math", "mfrac", "mi", "mn", "mo", "mrow", "msup", "mtext"}
KNOWN |= {
    "nav",
    "ol",
    "p",
    "picture",
    "pre",
    "rect",
    "section",
    "source",
    "span",
    "strong",
    "summary",
    "svg",
    "table",
    "tbody",
    "td",
    "text",
}
KNOWN |= {"footer", "th", "thead", "tr", "ul", "use"}


def dangers(part: BeautifulSoup) -> list[str]:
    """What in it could run or fetch something, or lie over the page."""
    found = [element.name for element in part.find_all(True) if element.name not in KNOWN]
    for element in part.find_all(True):
        for name, value in element.attrs.items():
            text = " ".join(value) if isinstance(value, list) else value
            fetches = name in ("src", "href", "xlink:href") and element.name != "a" and ("//" in text or "+xml" in text)
            fetches |= name in ("background", "srcset", "poster", "action", "formaction") or "url(" in text
            if fetches or "script:" in text or "\\" in text or name[:2] == "on" or "position" in text:
                found.append(f"{element.name} {name}={text}")
    return found


@pytest.mark.parametrize("kind", ["text/html", "text/markdown"])
@pytest.mark.parametrize("attack", ATTACKS)
def test_what_a_stranger_wrote_runs_nothing_and_asks_nobody(outputs, attack, kind):
    shown = outputs[attack, kind]
    assert "bold" in shown.get_text() and dangers(shown) == []


def test_what_a_run_says_of_its_environment_is_text(tmp_path):
    """In every fact of environment.json; and nothing runs where a notebook repeats it."""
    hostile = " ".join(words for name, words in ATTACKS.items() if "formula" not in name)
    facts = dict.fromkeys(("device", "python", "revision"), hostile) | {"packages": {hostile: hostile}}
    facts["continued"] = [{"epoch": hostile, hostile: [hostile, hostile]}]
    folder = publish(tmp_path, [{"text/markdown": f"10 parameters on {hostile}, 7 epochs behind it"}], **facts)
    page, index = sites.page(folder, "01_first"), sites.page(folder, "index")
    assert page.footer.get_text().count(hostile) == 7 and index.dl.get_text().count(hostile) == 1
    assert dangers(page.body) == dangers(index.body) == []


@pytest.mark.parametrize("name", ["03_train", "07_evidence"])
def test_so_does_the_notebook_that_repeats_it(name):
    """JupyterLab trusts what its own kernel wrote; so the cell itself must make text of a stranger's machine."""
    cells = nbformat.read(paths.NOTEBOOKS / f"{name}.ipynb", 4).cells
    source = next(
        c.source for c in cells if "Markdown(" in c.source and ("'device'" in c.source or "machines" in c.source)
    )
    last = ast.parse(source).body[-1].value
    hostile = ATTACKS["event"]
    this = SimpleNamespace(name="x", source="x", every=[], environment={"device": hostile}, machines=hostile)
    given = {"this": this, "parameters": 1, "training": SimpleNamespace(epoch=1), "Markdown": str}
    exec(next(c.source for c in cells if "import" in c.source).split("import pandas")[0], given)
    text = eval(compile(ast.Expression(last), name, "eval"), given)
    assert "alert(1)" in text and "<img" not in text


def test_what_pages_need_is_kept():
    table = """<table class="dataframe" id="T_x"><caption>c</caption><thead><tr><th scope="col" colspan="2">a</th></tr>
        </thead><tbody><tr><td class="data" id="x" data-row="1" style="text-align:right">1</td></tr></tbody></table>"""
    svg = """<svg viewBox="0 0 9 9"><clipPath id="c"><rect width="9" height="9"></rect></clipPath>
        <g clip-path="url(#c)"><path d="M0 0" style="fill:none"></path></g></svg>"""
    math = '<math display="block"><mfrac><mi mathvariant="normal">a</mi><mn>2</mn></mfrac></math>'
    more = f'<img alt="p" src="{PIXEL}"><pre><code>a &lt; b</code></pre><a href="https://example.org/">out</a>'
    for html in (table, svg, math, more):
        assert BeautifulSoup(sanitize.clean(html), "html.parser") == BeautifulSoup(html, "html.parser")


def test_links_lead_within_the_site_or_to_https():
    links = "".join(f'<a href="{to}">x</a>' for to in ("#a", "b.ipynb", "c.ipynb", "http://d", "//e", "https://f"))
    soup = BeautifulSoup(sanitize.clean(links, {"b.ipynb": "b.html"}.get), "html.parser")
    assert [link.get("href") for link in soup.find_all("a")] == ["#a", "b.html", None, None, None, "https://f"]


FIGURES = {
    "a script": f"{SVG}><script>alert(1)</script></svg>",
    "an event": f'{SVG} onload="alert(1)"></svg>',
    "another host": f'{SVG}><image xlink:href="https://example.org/a.png"/></svg>',
    "a link": f'{SVG}><a xlink:href="javascript:alert(1)"><text>go</text></a></svg>',
    "HTML": f'{SVG}><g><script xmlns="http://www.w3.org/1999/xhtml">alert(1)</script></g></svg>',
    "an entity": f'<!DOCTYPE svg [<!ENTITY a "<script>alert(1)</script>">]>{SVG}>&a;</svg>',
    "an attribute by default": f'<!DOCTYPE svg [<!ATTLIST svg onload CDATA "alert(1)">]>{SVG}></svg>',
    "an import": f"{SVG}><style>@import '//example.org/a.css';</style></svg>",
    "an import in two": f"{SVG}><style>a{{}}<g/>@import '//example.org/a.css';</style></svg>",
    "foreign paint": f'{SVG}><rect style="fill: url(https://example.org/a.svg#a)"/></svg>',
    "no SVG": "<svg",
}


@pytest.mark.parametrize("what", FIGURES)
def test_a_figure_of_our_type_that_is_not_ours_is_refused(tmp_path, what):
    drawn = sites.drawn()._repr_mimebundle_()[MIME] | {"svg": FIGURES[what]}
    with pytest.raises(SiteError, match=r"^01_first: a figure (holds|is no SVG)[^\n]*$"):
        publish(tmp_path, [{MIME: drawn}])


def test_a_figure_calls_no_style_sheet(tmp_path):
    """An instruction before the SVG could: no more than the checked tree is written."""
    drawn = sites.drawn()._repr_mimebundle_()[MIME]
    drawn["svg"] = drawn["svg"].replace("<!DOCTYPE", '<?xml-stylesheet href="https://example.org/a.css"?><!DOCTYPE', 1)
    text = (publish(tmp_path, [{MIME: drawn}]) / "figures/01_first-1.svg").read_text(encoding="utf-8")
    assert text.startswith("<svg ") and "example.org" not in text and "prefers-color-scheme" in text


def test_every_page_has_a_policy_that_starts_from_nothing(tmp_path):
    folder = publish(tmp_path, [])
    for path in folder.glob("*.html"):
        page = sites.page(folder, path.stem)
        policy = page.find("meta", attrs={"http-equiv": "Content-Security-Policy"})["content"].split("; ")
        rules = {name: set(allowed) for name, *allowed in map(str.split, policy)}
        assert rules["default-src"] == {"'none'"} and rules["script-src"] == rules["style-src"] == {"'self'", "file:"}
        assert not page.select("script:not([src]), style")
