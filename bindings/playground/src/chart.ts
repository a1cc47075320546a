// Line charts with bars, as SVG: series differ by dash and end label too, not by colour alone.

import { svg } from "./dom.js";
import { grouped } from "./format.js";

export interface Line {
  name: string;
  kind: string;
  /** One for each stretch; undefined where there is none. */
  values: readonly (number | undefined)[];
}

export interface Bars {
  name: string;
  kind: string;
  values: readonly number[];
}

export interface Chart {
  title: string;
  lines: readonly Line[];
  /** Stacked, in a part of their own below the lines. */
  bars: readonly Bars[];
  count: number;
  xMax: number;
  unit: string;
}

const TOP = 12;
const BOTTOM = 24;
const LEFT = 46;
const RIGHT = 76;
const TEXT_GAP = 13;
const BARS_HEIGHT = 64;
const BARS_GAP = 20;

/** A round number at or above the value, and steps up to it. */
export function ticks(most: number, wanted = 4): number[] {
  if (!(most > 0)) return [0, 1];
  const raw = most / wanted;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 2.5, 5, 10].map((part) => part * power).find((size) => size >= raw) ?? raw;
  const size = Math.max(1, step);
  const count = Math.ceil(most / size);
  return Array.from({ length: count + 1 }, (_, index) => Math.round(index * size));
}

export function draw(chart: Chart, width: number, height: number): SVGElement {
  const right = width - RIGHT;
  const end = height - BOTTOM;
  const bottom = chart.bars.length > 0 ? end - BARS_HEIGHT - BARS_GAP : end;
  const all = chart.lines.flatMap(({ values }) => values.filter((v) => v !== undefined));
  const yTicks = ticks(Math.max(0, ...all));
  const yMost = yTicks.at(-1) ?? 1;
  const x = (index: number) => LEFT + ((right - LEFT) * index) / chart.count;
  const y = (value: number) => bottom - ((bottom - TOP) * value) / yMost;
  const root = svg("svg", {
    class: "chart",
    viewBox: `0 0 ${width} ${height}`,
    width,
    height,
    role: "img",
    "aria-label": chart.title,
  });
  root.append(hatch());
  const rule = (value: number, at: number): void => {
    root.append(svg("line", { class: "grid", x1: LEFT, x2: right, y1: at, y2: at }));
    const label = { class: "tick", x: LEFT - 6, y: at + 4, "text-anchor": "end" };
    root.append(svg("text", label, short(value)));
  };
  for (const value of yTicks) rule(value, y(value));
  for (const value of ticks(chart.xMax, width < 420 ? 3 : 6).filter((at) => at <= chart.xMax)) {
    const at = LEFT + ((right - LEFT) * value) / chart.xMax;
    const label = { class: "tick", x: at, y: end + 16, "text-anchor": "middle" };
    root.append(svg("text", label, `${grouped(value)}${value === 0 ? "" : ` ${chart.unit}`}`));
  }
  drawBars(root, chart, x, end, rule);
  drawLines(root, chart, x, y, right, bottom);
  return root;
}

function hatch(): SVGElement {
  const stroke = svg("path", { class: "hatch", d: "M-1,1 l2,-2 M0,5 l5,-5 M4,6 l2,-2" });
  const attrs = { id: "hatch", width: 5, height: 5, patternUnits: "userSpaceOnUse" };
  return svg("defs", {}, svg("pattern", attrs, stroke));
}

function drawBars(
  root: SVGElement,
  chart: Chart,
  x: (index: number) => number,
  bottom: number,
  rule: (value: number, at: number) => void,
): void {
  if (chart.bars.length === 0) return;
  const sums = Array.from({ length: chart.count }, (_, index) =>
    chart.bars.reduce((sum, { values }) => sum + (values[index] ?? 0), 0),
  );
  const most = Math.max(1, ...sums);
  const scale = BARS_HEIGHT / most;
  rule(0, bottom);
  rule(most, bottom - BARS_HEIGHT);
  for (let index = 0; index < chart.count; index += 1) {
    let base = bottom;
    for (const { kind, values } of chart.bars) {
      const size = (values[index] ?? 0) * scale;
      if (size === 0) continue;
      base -= size;
      const width = Math.max(1, x(index + 1) - x(index) - 1);
      root.append(svg("rect", { class: `bar ${kind}`, x: x(index), y: base, width, height: size }));
    }
  }
}

function drawLines(
  root: SVGElement,
  chart: Chart,
  x: (index: number) => number,
  y: (value: number) => number,
  right: number,
  bottom: number,
): void {
  const labels = chart.lines.flatMap(({ name, kind, values }) => {
    const points = values.flatMap((value, index) =>
      value === undefined ? [] : [`${x(index + 1).toFixed(1)},${y(value).toFixed(1)}`],
    );
    const last = values.findLast((value) => value !== undefined);
    if (last === undefined) return [];
    root.append(svg("polyline", { class: `line ${kind}`, points: points.join(" ") }));
    return [{ name, kind, at: y(last) + 4 }];
  });
  // Labels of lines that end near one another are moved apart.
  labels.sort((a, b) => a.at - b.at);
  let free = TOP;
  const placed = labels.map((label) => {
    const at = Math.max(label.at, free);
    free = at + TEXT_GAP;
    return { ...label, at };
  });
  const over = Math.max(0, free - TEXT_GAP - (bottom + 4));
  for (const { name, kind, at } of placed) {
    root.append(svg("text", { class: `label ${kind}`, x: right + 6, y: at - over }, name));
  }
}

function short(value: number): string {
  if (value >= 10_000_000) return `${grouped(Math.round(value / 1_000_000))}M`;
  return value >= 100_000 ? `${grouped(Math.round(value / 1000))}k` : grouped(value);
}
