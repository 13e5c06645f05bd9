// Draws the charts of the page from the numbers in it, again whenever the page has been renewed. Texts and colours come from
// the page and its style.

const main = document.getElementById("main");

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}

function draw() {
  const data = document.getElementById("chart-data");
  if (!data) return;
  const { minutes, charts } = JSON.parse(data.textContent);
  for (const { id, unit, lines } of charts) {
    const place = document.getElementById(id);
    if (!place || place.childElementCount > 0) continue;
    const axis = { stroke: colour("soft"), grid: { stroke: colour("line") }, ticks: { stroke: colour("line") } };
    const series = lines.map((line) => ({
      label: line.title,
      stroke: colour(line.colour),
      width: 2,
      dash: line.dash,
      points: { show: minutes.length < 60 },
      value: (_, value) => (value === null ? "–" : `${value}${unit}`),
    }));
    const options = {
      width: place.clientWidth,
      height: 240,
      scales: { y: { range: (_, low, high) => [0, Math.max(high ?? 1, 0.001) * 1.05] } },
      axes: [axis, { ...axis, size: 60, values: (_, ticks) => ticks.map((tick) => `${tick}${unit}`) }],
      series: [{}, ...series],
      legend: { live: true },
    };
    new uPlot(options, [minutes, ...lines.map((line) => line.values)], place);
  }
}

draw();
// The renewal replaces everything in the main part; uPlot's own elements are deeper.
new MutationObserver(draw).observe(main, { childList: true });
// Other widths and colours: draw anew.
const again = () => {
  for (const place of main.querySelectorAll(".chart")) place.replaceChildren();
  draw();
};
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", again);
let width = innerWidth;
addEventListener("resize", () => {
  if (innerWidth !== width) again();
  width = innerWidth;
});
