// The table that a bench prints. Absolute times are of the machine it ran on; ratios within one run are what counts.
export interface Row {
  figure: string;
  measured: string;
  aim: string;
  /** Undefined where nothing is aimed at. */
  met: boolean | undefined;
}

export function table(rows: readonly Row[]): string {
  const cells = [
    ["figure", "measured", "aim", ""],
    ...rows.map(({ figure, measured, aim, met }) => [figure, measured, aim, met === undefined ? "" : met ? "met" : "**not met**"]),
  ];
  const widths = [0, 1, 2, 3].map((column) => Math.max(3, ...cells.map((line) => line[column]?.length ?? 0)));
  const lines = cells.map((line) => `| ${line.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join(" | ")} |`);
  const rule = `| ${widths.map((width) => "-".repeat(width)).join(" | ")} |`;
  return [lines[0], rule, ...lines.slice(1)].join("\n");
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length / 2;
  return sorted.length % 2 === 1 ? (sorted[Math.floor(middle)] ?? Number.NaN) : ((sorted[middle - 1] ?? 0) + (sorted[middle] ?? 0)) / 2;
}

export const range = (values: readonly number[], show: (value: number) => string): string =>
  `${show(median(values))} (${show(Math.min(...values))} to ${show(Math.max(...values))})`;
