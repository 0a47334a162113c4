"""Great Expectations' pages without a network. Enters: their HTML, results. Leaves: HTML that needs nothing else.

As written, the pages take styles, icons and the rows of their index from five other sites: offline they have no layout
and the index is empty. Here they get one small style of their own and an index without scripts.
"""

import re
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any
from urllib.parse import quote

STYLE = """<style>
body { font: 15px/1.45 system-ui, sans-serif; color: #222; margin: 0 auto; max-width: 1200px; padding: 0 1.5rem 4rem; }
h4, h5, h6 { font-size: 1rem; margin: 0 0 .3rem; }
a { color: #1a5fb4; }
.row { display: flex; flex-wrap: wrap; gap: 0 1.5rem; }
.container-fluid > .row > :first-child { flex: 0 0 13rem; font-size: .85rem; }
.container-fluid > .row > :last-child { flex: 1 1 40rem; min-width: 0; }
.ge-section .row > * { flex: 1 1 100% !important; }
.sticky { position: static; }
.card:has(.btn-group), .modal, button, footer, [data-toggle=collapse] { display: none; }
nav ol, nav ul { list-style: none; margin: 0; padding: 0; max-height: none !important; }
nav ol li { display: inline; } nav ol li + li::before { content: " / "; }
.alert { background: #eef1f4; border-left: 4px solid #9aa5b1; margin: 1rem 0 .5rem; padding: .5rem .8rem; }
table { border-collapse: collapse; margin: .5rem 0 1rem; width: 100%; }
th, td { border-bottom: 1px solid #d5dade; padding: .3rem .6rem; text-align: left; vertical-align: top; }
.cooltip .top { display: none; }
.badge, code { background: #eef1f4; border-radius: 3px; padding: 0 .3rem; }
.text-success, .yes { color: #1a7f37; } .text-danger, .no { color: #c01c28; }
.fa-check-circle::before { content: "\\2713"; } .fa-times::before { content: "\\2717"; }
.fa-exclamation-triangle::before { content: "!"; }
</style>"""

_ELSEWHERE = re.compile(
    r"""<link\b[^>]*\bhref="https?:[^>]*>|<script\b.*?</script>|<img\b[^>]*\bsrc="https?:[^>]*>""",
    re.DOTALL | re.IGNORECASE,
)
_BACKGROUND = re.compile(r"""url\((['"]?)https?:[^)]*\)""", re.IGNORECASE)


def make_offline(html: str) -> str:
    """Return a page without scripts and without what lies on other sites, and with ``STYLE`` as its last style."""
    text = _BACKGROUND.sub("none", _ELSEWHERE.sub("", html))
    return text.replace("</head>", f"{STYLE}\n</head>", 1)


def make_index(name: str, rows: Sequence[Mapping[str, Any]], limits: Sequence[str], links: Mapping[str, str]) -> str:
    """Return the first page: every expectation with its outcome, and links to the pages with the details.

    Parameters
    ----------
    rows : result of ``suites.check_expectations``
    limits : what each row asks for, in words
    links : title -> path of a page, relative to the index
    """
    met = sum(row["success"] for row in rows)
    listed = "".join(f'<li><a href="{quote(path)}">{escape(title)}</a></li>' for title, path in links.items())
    cells = "\n".join(
        f"<tr><td>{escape(row['column'] or 'table')}</td><td>{escape(_words(row['expectation']))}</td>"
        f"<td>{escape(limit)}</td>"
        f'<td>{row["observed"]:g}</td><td class="{"yes" if row["success"] else "no"}">'
        f"{'✓ as expected' if row['success'] else '✗ not as expected'}</td></tr>"
        for row, limit in zip(rows, limits, strict=True)
    )
    return f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>{escape(name)}: expectations</title>
{STYLE}
</head><body>
<h1>{escape(name)}</h1>
<p>{met} of {len(rows)} expectations hold. One that does not is told, not fatal: it may be the animal, not the file.</p>
<table><thead><tr><th>column</th><th>expectation</th><th>limits</th><th>observed</th><th>outcome</th></tr></thead><tbody>
{cells}
</tbody></table>
<p>Observed: the value asked about; for rules on single values, the part of the values that keep the rule.</p>
<h2>Pages of Great Expectations</h2>
<ul>{listed}</ul>
</body></html>
"""


def _words(expectation: str) -> str:
    """``expect_column_mean_to_be_between`` as words; the limits stand beside it."""
    return expectation.removeprefix("expect_").removesuffix("_to_be_between").replace("_", " ")
