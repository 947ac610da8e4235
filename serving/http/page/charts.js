// Four charts over the same five minutes, in the colours of the page.
import { clock } from "./format.js";

const HEIGHT = 170;
const SPAN_S = 300;
// Rows and milliseconds are counted in whole numbers.
const INCREMENTS = [1, 10, 100, 1000, 1e4, 1e5].flatMap((ten) => [ten, 2 * ten, 5 * ten]);
const uPlot = globalThis.uPlot;

const CHARTS = {
  latency: {
    columns: (frame, state) => [frame.p50_ms, frame.p95_ms, frame.p99_ms, state.target_ms],
    lines: (colour) => [
      { label: "p50", stroke: colour("--muted"), width: 1 },
      { label: "p95", stroke: colour("--muted"), width: 1, dash: [2, 3] },
      { label: "p99", stroke: colour("--accent"), width: 2 },
      { label: "target", stroke: colour("--text"), width: 1, dash: [6, 4] },
    ],
  },
  rate: {
    columns: (frame) => [frame.answered_per_s, frame.refused_per_s + frame.late_per_s],
    lines: (colour) => [
      { label: "answered", stroke: colour("--accent"), width: 2 },
      { label: "refused or late", stroke: colour("--text"), width: 1, dash: [6, 4] },
    ],
  },
  climb: {
    columns: (frame) => [frame.batch_limit, frame.rows_per_batch],
    lines: (colour) => [
      { label: "limit", stroke: colour("--accent"), width: 2, paths: uPlot.paths.stepped({ align: -1 }) },
      { label: "rows a batch", stroke: colour("--muted"), width: 1 },
    ],
  },
  queue: {
    columns: (frame) => [frame.queue_rows],
    lines: (colour) => [{ label: "rows waiting", stroke: colour("--accent"), width: 2 }],
  },
};

export class Charts {
  #root;
  #plots = [];
  #last = null;

  constructor(root) {
    this.#root = root;
    // uPlot's colours are fixed when a chart is made.
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
      this.#plots.forEach(({ plot, resizing }) => (resizing.disconnect(), plot.destroy()));
      this.#plots = [];
      if (this.#last) this.draw(...this.#last);
    });
  }

  draw(frames, state) {
    this.#last = [frames, state];
    if (!this.#plots.length) this.#make();
    const times = frames.map((frame) => frame.at);
    for (const { plot, columns } of this.#plots) {
      const rows = frames.map((frame) => columns(frame, state));
      const series = plot.series.slice(1).map((_, at) => rows.map((row) => row[at] ?? null));
      plot.setData([times, ...series]);
      // Where nobody points, the legend says what is now.
      if (plot.cursor.left < 0) plot.setLegend({ idx: times.length - 1 });
    }
  }

  #make() {
    const style = getComputedStyle(document.documentElement);
    const colour = (name) => style.getPropertyValue(name).trim();
    for (const [name, { columns, lines }] of Object.entries(CHARTS)) {
      const place = this.#root.querySelector(`[data-chart="${name}"]`);
      const plot = new uPlot(options(place, lines(colour), colour), [[]], place);
      const resizing = new ResizeObserver(() => plot.setSize({ width: place.clientWidth, height: HEIGHT }));
      resizing.observe(place);
      this.#plots.push({ plot, columns, resizing });
    }
  }
}

function options(place, lines, colour) {
  const axis = {
    stroke: colour("--muted"),
    font: "12px system-ui, sans-serif",
    grid: { stroke: colour("--line"), width: 1 },
    ticks: { show: false },
  };
  const plain = (value) => (value == null ? "–" : Number(value.toPrecision(3)).toLocaleString("en"));
  return {
    width: place.clientWidth,
    height: HEIGHT,
    padding: [8, 8, 0, 0],
    cursor: { y: false, points: { size: 6 } },
    scales: {
      // All that there is, at least one minute and at most five.
      x: { range: (_, low, high) => (high == null ? [0, 60] : [Math.max(high - SPAN_S, Math.min(low, high - 60)), high]) },
      y: { range: (_, low, high) => [0, Math.max(1, 1.1 * (high ?? 1))] },
    },
    axes: [
      { ...axis, size: 28, values: (_, splits) => splits.map((at) => clock(at)), incrs: [15, 30, 60, 120, 300], space: 70 },
      { ...axis, size: 48, incrs: INCREMENTS, values: (_, splits) => splits.map(plain) },
    ],
    series: [
      { label: "time", value: (_, at) => (at == null ? "–" : clock(at)) },
      ...lines.map((line) => ({ ...line, value: (_, value) => plain(value), points: { show: false } })),
    ],
  };
}
