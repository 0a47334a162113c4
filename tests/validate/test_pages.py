"""Pages that need no network."""

from spikeprint.validate.pages import STYLE, make_index, make_offline

PAGE = """<html><head><link rel="stylesheet" href="https://cdn.example/x.css"/>
<link rel="shortcut icon" href="../static/favicon.ico"/><style>a { background: url('https://cdn.example/l.png') 0 0; }
</style><script src="https://cdn.example/x.js"></script><SCRIPT>
$(1);
</SCRIPT></head><body><img class="logo"
 src="https://cdn.example/logo.png"><img src="static/near.png"><a href="https://example.org">read</a></body></html>"""


def test_what_lies_elsewhere_goes_and_the_rest_stays() -> None:
    page = make_offline(PAGE)
    assert "cdn.example" not in page
    assert "script" not in page.lower()
    kept = [
        "../static/favicon.ico",
        "static/near.png",
        '<a href="https://example.org">read</a>',
        "background: none 0 0",
    ]
    assert all(text in page for text in kept)
    assert page.index(STYLE) < page.index("</head>")
    assert page.count(STYLE) == 1


def test_index_shows_outcomes_and_links() -> None:
    rows = [
        {"expectation": "expect_table_row_count_to_be_between", "column": "", "success": True, "observed": 12.0},
        {"expectation": "expect_column_mean_to_be_between", "column": "a<b", "success": False, "observed": 0.25},
    ]
    page = make_index("mine & yours", rows, ["at least 2", "at most 0.1"], {"results: x": "validations/a b.html"})
    assert "<h1>mine &amp; yours</h1>" in page
    assert "1 of 2 expectations hold" in page
    assert '<td>table</td><td>table row count</td><td>at least 2</td><td>12</td><td class="yes">' in page
    assert '<td>a&lt;b</td><td>column mean</td><td>at most 0.1</td><td>0.25</td><td class="no">' in page
    assert '<a href="validations/a%20b.html">results: x</a>' in page
    assert "http" not in page
