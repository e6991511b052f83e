// uPlot is loaded as a classic script; this is the part of it that chart.js uses.
declare interface UPlotOptions { [name: string]: unknown }
declare class uPlot {
  constructor(options: UPlotOptions, data: unknown[], parent: HTMLElement);
  static rangeLog(low: number, high: number, base: number, full: boolean): [number, number];
  static rangeNum(low: number, high: number, mult: number, extra: boolean): [number, number];
  static sync(key: string): object;
  root: HTMLElement;
  over: HTMLElement;
  ctx: CanvasRenderingContext2D;
  bbox: { left: number; top: number; width: number; height: number };
  cursor: { left: number; top: number; event?: Event | null };
  select: { left: number; top: number; width: number; height: number };
  scales: Record<string, { min: number; max: number; distr?: number }>;
  axes: { _splits?: number[]; _values?: string[] }[];
  width: number;
  height: number;
  setData(data: unknown[], reset?: boolean): void;
  setSize(size: { width: number; height: number }): void;
  setSelect(select: { left: number; top: number; width: number; height: number }, fire?: boolean): void;
  setCursor(at: { left: number; top: number }, fire?: boolean): void;
  redraw(rebuild?: boolean, axes?: boolean): void;
  valToPos(value: number, scale: string, canvas?: boolean): number;
  posToVal(position: number, scale: string, canvas?: boolean): number;
  destroy(): void;
}
