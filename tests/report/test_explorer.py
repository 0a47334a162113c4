"""The explorer: its payload says what it was given; its page works in a real browser without a network."""

import base64
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from browser import Page, browse, find_browser
from spikeprint.core.errors import DataError
from spikeprint.core.spikes import Motion, Peaks, Positions
from spikeprint.report.explorer import MISSING, Snippets, SpikeView, make_payload, render


def make_view(
    n: int = 800, m: int = 40, n_contacts: int = 24, k: int = 10, z: bool = True, n_samples: int = 75
) -> SpikeView:
    """Spikes around a probe of two columns, some of them with waveforms."""
    rng = np.random.default_rng(1)
    contacts = np.column_stack([np.tile([0.0, 32.0], n_contacts // 2), np.repeat(np.arange(n_contacts // 2) * 20.0, 2)])
    channels = rng.integers(0, n_contacts, n)
    truth = np.column_stack([contacts[channels] + rng.normal(0, 8, (n, 2)), rng.uniform(5, 40, n)])
    xyz = (truth + rng.normal(0, 3, (n, 3))).astype(np.float32)
    if not z:
        xyz[:, 2] = np.nan
    samples = np.sort(rng.integers(0, 3_000_000, n))
    peaks = Peaks(samples, channels, -rng.uniform(40, 200, n).astype(np.float32), 30_000.0, 3_000_000)
    times = np.arange(0.5, 100, 1)
    motion = Motion(np.repeat(5 * np.sin(times / 15)[:, None], 3, axis=1), times, np.array([0.0, 110, 220]))
    corrected = xyz.copy()
    corrected[:, 1] -= 5 * np.sin(peaks.times_s / 15)
    rows = np.sort(rng.choice(n, m, replace=False))
    around = np.argsort(np.abs(contacts[channels[rows], None] - contacts[None]).sum(axis=2), axis=1)[:, :k]
    t = np.arange(n_samples) - 25
    size = 120 / (1 + np.linalg.norm(contacts[around] - truth[rows, None, :2], axis=2) / 20)
    smooth = -(size[:, :, None] * np.exp(-((t / 5) ** 2))).astype(np.float32)
    raw = smooth + rng.normal(0, 6, smooth.shape).astype(np.float32)
    peak = np.column_stack([contacts[channels[rows]], np.full(m, np.nan)])
    estimates = {"peak_channel": peak, "monopole": truth[rows] + rng.normal(0, 5, (m, 3)), "production": xyz[rows]}
    alpha, sd = rng.lognormal(8, 0.5, n).astype(np.float32), np.full((n, 3), 3, dtype=np.float32)
    return SpikeView(
        title="rec <1> & </script>",
        method="production",
        contacts_um=contacts,
        peaks=peaks,
        positions=Positions(xyz, alpha, sd),
        corrected=Positions(corrected, alpha, sd),
        motions=[motion],
        snippets=Snippets(rows, around, raw, smooth, 25, estimates),
        units=rng.integers(-1, 9, n),
        truth_um=truth,
    )


def decode(packed: dict[str, Any]) -> np.ndarray:
    """What the page's own decoder does."""
    values = np.frombuffer(base64.b64decode(packed["data"]), dtype=packed["type"]).reshape(packed["shape"])
    if "scale" not in packed:
        return values
    return np.where(values == MISSING, np.nan, values * packed["scale"] + packed["offset"])


@pytest.fixture(scope="module")
def view() -> SpikeView:
    return make_view()


def test_the_payload_holds_every_spike_that_was_asked_for(view: SpikeView) -> None:
    payload = json.loads(json.dumps(make_payload(view, n_background=300)))
    spikes = {name: decode(packed) for name, packed in payload["spikes"].items()}
    rows = view.snippets.rows
    assert {len(values) for values in spikes.values()} == {340}
    for name, column in (("x", 0), ("y", 1), ("z", 2)):
        np.testing.assert_allclose(spikes[name][:40], view.positions.xyz_um[rows, column], atol=0.01)
    np.testing.assert_allclose(spikes["yc"][:40], view.corrected.xyz_um[rows, 1], atol=0.01)
    np.testing.assert_array_equal(spikes["unit"][:40], view.units[rows])
    error = np.linalg.norm(view.positions.xyz_um[rows, :2] - view.truth_um[rows, :2], axis=1)
    np.testing.assert_allclose(spikes["error"][:40], error, atol=0.01)
    # the background holds each of the other spikes at most once
    times = np.round(spikes["time"] * 100).astype(int)
    assert set(times[40:]) <= {int(value) + d for value in np.round(view.peaks.times_s * 100) for d in (-1, 0, 1)}
    waves = decode(payload["snippets"]["waves"]) * decode(payload["snippets"]["scale"])[:, None, None, None]
    np.testing.assert_allclose(waves[:, 0], view.snippets.raw_uv, atol=1.5)
    np.testing.assert_allclose(waves[:, 1], view.snippets.smooth_uv, atol=1.5)
    np.testing.assert_allclose(
        decode(payload["snippets"]["estimates"]["monopole"]), view.snippets.estimates["monopole"]
    )
    np.testing.assert_allclose(
        decode(payload["motions"][0]["displacement"]), view.motions[0].displacement_um, atol=1e-4
    )
    np.testing.assert_allclose(decode(payload["contacts"]), view.contacts_um)


def test_what_is_not_known_is_left_out_or_missing(view: SpikeView) -> None:
    bare = replace(make_view(z=False), units=None, truth_um=None)
    bare = replace(bare, positions=Positions(bare.positions.xyz_um))
    spikes = make_payload(bare)["spikes"]
    assert not {"unit", "error", "sd", "true_x"} & set(spikes)
    assert np.isnan(decode(spikes["z"])).all()


def test_integers_are_as_small_as_they_can_be(view: SpikeView) -> None:
    large = replace(view, units=view.units + 40_000)
    for one, kind in ((view, "int16"), (large, "int32")):
        packed = make_payload(one, n_background=0)["spikes"]["unit"]
        assert packed["type"] == kind
        np.testing.assert_array_equal(decode(packed), one.units[one.snippets.rows])


def test_a_view_that_does_not_agree_is_refused(view: SpikeView) -> None:
    with pytest.raises(DataError, match=r"800 peaks, but {'units': 3}"):
        replace(view, units=np.zeros(3, dtype=int))
    with pytest.raises(DataError, match="rows of snippets beyond them"):
        replace(view, snippets=replace(view.snippets, rows=view.snippets.rows + 790))
    with pytest.raises(DataError, match="40 spikes on 10 contacts"):
        replace(view.snippets, smooth_uv=view.snippets.smooth_uv[:, :3])


def test_the_page_is_whole_and_small_at_full_size() -> None:
    page = render(make_payload(make_view(n=61_000, m=1_000, n_contacts=384, n_samples=90)))
    assert len(page.encode()) < 10e6
    assert "<!--" not in page.split("<script")[0]
    assert "rec &lt;1&gt; &amp; &lt;/script&gt;" in page
    # nothing is fetched: no address in markup or style
    assert not re.search(r"""(?:src|href)=["'](?!data:)""", page.split("<script")[0])
    told = re.search(r'<script id="payload" type="application/json">(.*?)</script>', page, re.S)
    assert json.loads(told[1])["title"] == "rec <1> & </script>"


LONELY = """name => {
  const layout = document.getElementById('global')._fullLayout;
  const ax = layout['xaxis' + name], ay = layout['yaxis' + name], h = columns[{'': 'time', '2': 'xc', '3': 'z'}[name]];
  const at = i => [ax.d2p(h[i]), ay.d2p(columns.yc[i])];
  let best = -1, most = 0;
  for (let i = 0; i < SHOWN; i++) {
    const [x, y] = at(i);
    const isInside = x > 6 && y > 6 && x < ax._length - 6 && y < ay._length - 6;
    if (i === state.spike || !isInside) continue;
    let near = 1e9;
    for (let j = 0; j < SHOWN; j++) if (j !== i) near = Math.min(near, Math.hypot(at(j)[0] - x, at(j)[1] - y));
    if (near > most) { most = near; best = i; }
  }
  return best;
}"""
"""Of the spikes in a panel the one that is farthest from others in pixels."""


# In a browser --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def page(view: SpikeView, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    browser = find_browser()
    if browser is None:
        pytest.skip("no Chromium on this machine: apt-get install chromium")
    folder = tmp_path_factory.mktemp("browser")
    (folder / "explorer.html").write_text(render(make_payload(view)), encoding="utf-8")
    with browse(browser, folder) as opened:
        opened.open((folder / "explorer.html").as_uri())
        opened.wait("document.body?.dataset.ready === 'yes'")
        yield opened


def where_is(page: Page, graph: str, axis: str, spike: int) -> tuple[float, float]:
    """Pixel of a spike in a panel, by Plotly's own axes."""
    names = {"": ("time", "yc"), "2": ("xc", "yc"), "3": ("z", "yc")}[axis]
    return tuple(
        page.ask(
            f"(() => {{ const g = document.getElementById('{graph}'), b = g.getBoundingClientRect(), l = g._fullLayout;"
            f"const ax = l.xaxis{axis}, ay = l.yaxis{axis};"
            f"return [b.left + ax._offset + ax.d2p(columns.{names[0]}[{spike}]), "
            f"b.top + ay._offset + ay.d2p(columns.{names[1]}[{spike}])]; }})()"
        )
    )


def test_it_opens_without_a_network_and_without_an_error(page: Page) -> None:
    assert page.errors == []
    assert [url for url in page.asked if not url.startswith(("file:", "data:", "blob:"))] == []
    assert page.ask("document.querySelectorAll('#global .gl-canvas, #global canvas').length") > 0
    buttons = page.ask("Array.from(document.querySelectorAll('.modebar-btn'), b => b.dataset.title)")
    assert buttons
    assert not [title for title in buttons if "share" in title.lower() or "cloud" in title.lower()]
    assert page.ask("SHOWN === 40 && N === 800 && columns.x.every(Number.isFinite)")


@pytest.mark.parametrize("panel", ["", "2", "3"])
def test_a_click_shows_the_nearest_spike(page: Page, panel: str) -> None:
    lonely = page.ask(f"({LONELY})('{panel}')")
    before = page.ask("document.getElementById('text').textContent")
    wave = page.ask("JSON.stringify(document.getElementById('waves').data[0].y)")
    x, y = where_is(page, "global", panel, lonely)
    page.click(x + 2, y - 1)
    page.wait(f"document.body.dataset.spike === '{lonely}'")
    page.wait(f"JSON.stringify(document.getElementById('waves').data[0].y) !== {json.dumps(wave)}")
    after = page.ask("document.getElementById('text').textContent")
    assert after != before
    assert after.startswith(f"spike {lonely} of 40")
    assert f"spike={lonely}" in page.ask("location.hash")
    assert page.errors == []


def test_the_panel_of_a_spike_shows_every_estimate_and_the_truth(page: Page, view: SpikeView) -> None:
    spike = page.ask("state.spike")
    rows = page.ask(
        "Array.from(document.querySelectorAll('#places tr'), r => Array.from(r.children, c => c.textContent))"
    )
    assert [row[0] for row in rows[1:]] == ["peak_channel", "monopole", "production", "truth"]
    assert float(rows[2][1]) == pytest.approx(view.snippets.estimates["monopole"][spike, 0], abs=0.06)
    assert rows[1][3] == "–"
    error = np.linalg.norm((view.positions.xyz_um - view.truth_um)[view.snippets.rows[spike], :2])
    assert float(rows[3][4]) == pytest.approx(error, abs=0.06)
    n_points = page.ask("document.getElementById('waves').data[0].x.filter(v => v !== null).length")
    assert n_points == view.snippets.raw_uv[0].size


def test_keys_and_sliders_change_what_is_drawn(page: Page) -> None:
    first = page.ask("document.body.dataset.spike")
    page.press("ArrowRight")
    page.wait(f"document.body.dataset.spike !== '{first}'")
    y = "Array.from(document.getElementById('global').data[0].y).sort()[5]"
    before = page.ask(y)
    page.press("m")
    page.wait(f"document.getElementById('frame').value === 'before' && {y} !== {before}")
    page.press("c")
    page.wait("document.getElementById('colour').value === 'z'")
    page.ask(
        "(() => { const s = document.getElementById('window'); s.value = 250; s.dispatchEvent(new Event('input')); })()"
    )
    page.wait("document.getElementById('global').data[0].x.length < 400")
    assert page.ask("Math.max(...document.getElementById('global').data[0].x) <= 25.01")
    assert page.errors == []
