// The part of preact and htm that the pages use.
export type VNode = object;
export type Children = unknown;
export interface Ref<T> { current: T }
export function html(strings: TemplateStringsArray, ...values: unknown[]): VNode;
export function h(type: unknown, props: object | null, ...children: unknown[]): VNode;
export function render(node: unknown, parent: Element): void;
export class Component<P = {}, S = {}> {
  constructor(props: P);
  props: P;
  state: S;
  base: HTMLElement;
  setState(change: Partial<S> | ((state: S) => Partial<S>), done?: () => void): void;
  forceUpdate(): void;
  render(props: P, state: S): unknown;
  componentDidMount?(): void;
  componentDidUpdate?(previous: P, state: S): void;
  componentWillUnmount?(): void;
  shouldComponentUpdate?(next: P, state: S): boolean;
}
export function useState<T>(initial: T | (() => T)): [T, (value: T | ((before: T) => T)) => void];
export function useReducer<S, A>(reducer: (state: S, action: A) => S, initial: S): [S, (action: A) => void];
export function useEffect(effect: () => void | (() => void), inputs?: unknown[]): void;
export function useLayoutEffect(effect: () => void | (() => void), inputs?: unknown[]): void;
export function useRef<T>(initial: T): Ref<T>;
export function useMemo<T>(make: () => T, inputs: unknown[]): T;
export function useCallback<T>(callback: T, inputs: unknown[]): T;
