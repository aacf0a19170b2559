// A long table of which only what is seen is in the page: with keys, for screen readers, in rows or in cards.
import { Box, Text } from "@mantine/core";
import { useVirtualizer } from "@tanstack/react-virtual";
import { memo, useEffect, useId, useMemo, useRef, useState, type KeyboardEvent, type ReactNode } from "react";
import classes from "./VirtualGrid.module.css";

/** A column of the table. */
export interface Column<R> {
  key: string;
  title: string;
  /** Its share of the width, as CSS grid has it: "minmax(10rem, 2fr)". */
  width: string;
  cell: (row: R) => ReactNode;
}

interface Props<R> {
  /** What the table is, for screen readers. */
  label: string;
  rows: readonly R[];
  columns: readonly Column<R>[];
  keyOf: (row: R) => string;
  /** What a row is on a narrow screen, in place of its cells. */
  card: (row: R) => ReactNode;
  narrow: boolean;
  /** The height of a card in pixels. */
  cardHeight?: number;
  /** What Enter and a double click do. */
  onOpen?: (row: R) => void;
  /** Called when the reader is near the end. */
  onNearEnd?: () => void;
  /** For a tree: the level of a row, from 1, and whether it is open; undefined where it has nothing below. */
  levelOf?: (row: R) => { level: number; open: boolean | undefined };
  onToggle?: (row: R, open: boolean) => void;
  /** What is said where there are no rows. */
  empty: ReactNode;
  /** The height that it takes, as CSS has it; without it the table fills the screen. */
  height?: string;
  /** The height of what is above and below a table that fills the screen, as CSS has it. */
  around?: string;
}

/** The row that the keys are at. */
interface Place {
  /** Where it was last. */
  readonly index: number;
  readonly key: string;
}

/** Where a row is now, as others come and go before it; of one that is gone, where it was. */
function indexOf<R>({ index, key }: Place, rows: readonly R[], keyOf: (row: R) => string): number {
  const row = rows[index];
  if (index < 0 || (row !== undefined && keyOf(row) === key)) return index;
  const found = rows.findIndex((each) => keyOf(each) === key);
  return found < 0 ? Math.min(index, rows.length - 1) : found;
}

const ROW = 36;
const AHEAD = 30;

export function VirtualGrid<R>(props: Props<R>) {
  const { rows, columns, narrow, onNearEnd } = props;
  const scroller = useRef<HTMLDivElement>(null);
  const [place, setPlace] = useState<Place>({ index: -1, key: "" });
  const active = useMemo(() => indexOf(place, rows, props.keyOf), [place, rows]);
  const id = useId();
  const rowHeight = narrow ? (props.cardHeight ?? 76) : ROW;
  const virtual = useVirtualizer({
    count: rows.length,
    getScrollElement: () => scroller.current,
    estimateSize: () => rowHeight,
    overscan: 12,
  });
  useEffect(() => virtual.measure(), [rowHeight, virtual]);
  const items = virtual.getVirtualItems();
  const last = items.at(-1)?.index ?? -1;
  useEffect(() => {
    if (last >= rows.length - AHEAD) onNearEnd?.();
  }, [last, rows.length, onNearEnd]);

  const move = (to: number): void => {
    const index = Math.max(0, Math.min(rows.length - 1, to));
    setPlace({ index, key: props.keyOf(rows[index] as R) });
    virtual.scrollToIndex(index);
  };
  const keys = keysOf(props, active, move, Math.max(1, Math.floor((scroller.current?.clientHeight ?? 400) / rowHeight) - 1));
  const template = columns.map((column) => column.width).join(" ");
  const isTree = props.levelOf !== undefined;
  const isSeen = items.some((item) => item.index === active);
  return (
    <div className={classes.frame} style={{ height: props.height ?? filling(props.around ?? "0px") }}>
      <div
        ref={scroller}
        className={classes.scroller}
        role={isTree ? "treegrid" : "grid"}
        aria-label={props.label}
        aria-rowcount={rows.length + 1}
        aria-colcount={narrow ? 1 : columns.length}
        aria-activedescendant={isSeen ? `${id}-${active}` : undefined}
        tabIndex={0}
        onKeyDown={keys}
        onFocus={(event) => event.target === scroller.current && active < 0 && rows.length > 0 && move(0)}
      >
        <Header columns={columns} narrow={narrow} template={template} />
        <Box role="rowgroup" style={{ height: virtual.getTotalSize(), position: "relative", minWidth: narrow ? undefined : "min-content" }}>
          {items.map((item) => (
            <KeptRow
              key={props.keyOf(rows[item.index] as R)}
              grid={props}
              row={rows[item.index] as R}
              index={item.index}
              id={`${id}-${item.index}`}
              top={item.start}
              height={rowHeight}
              template={template}
              isActive={item.index === active}
              onActive={setPlace}
            />
          ))}
        </Box>
      </div>
      {rows.length === 0 && <div className={classes.empty}>{props.empty}</div>}
    </div>
  );
}

/** What is left of the screen between the shell's header and its pane, where that is enough to work with. */
function filling(around: string): string {
  return `max(18rem, calc(100dvh - var(--app-shell-header-offset, 0px) - var(--app-shell-footer-offset, 0px) - ${around}))`;
}

function Header<R>({ columns, narrow, template }: { columns: readonly Column<R>[]; narrow: boolean; template: string }) {
  return (
    <div role="rowgroup" className={narrow ? classes.hidden : classes.header}>
      <div role="row" aria-rowindex={1} className={classes.cells} style={{ gridTemplateColumns: template, height: ROW }}>
        {narrow ? (
          <span role="columnheader">Entry</span>
        ) : (
          columns.map((column) => (
            <Text key={column.key} role="columnheader" component="span" size="sm" fw={600} truncate>
              {column.title}
            </Text>
          ))
        )}
      </div>
    </div>
  );
}

interface RowProps<R> {
  grid: Props<R>;
  row: R;
  index: number;
  id: string;
  top: number;
  height: number;
  template: string;
  isActive: boolean;
  onActive: (place: Place) => void;
}

function GridRow<R>({ grid, row, index, id, top, height, template, isActive, onActive }: RowProps<R>) {
  const place = grid.levelOf?.(row);
  return (
    <div
      id={id}
      role="row"
      aria-rowindex={index + 2}
      aria-level={place?.level}
      aria-expanded={place?.open}
      aria-selected={isActive}
      data-active={isActive || undefined}
      className={classes.row}
      style={{ transform: `translateY(${top}px)`, height }}
      onClick={() => onActive({ index, key: grid.keyOf(row) })}
      onDoubleClick={() => grid.onOpen?.(row)}
    >
      {grid.narrow ? (
        <div role="gridcell" className={classes.card}>
          {grid.card(row)}
        </div>
      ) : (
        <div role="presentation" className={classes.cells} style={{ gridTemplateColumns: template, height }}>
          {grid.columns.map((column) => (
            <div key={column.key} role="gridcell" className={classes.cell}>
              {column.cell(row)}
            </div>
          ))}
        </div>
      )}
    </div>
  );
}

/** A step of scrolling leaves the properties of the table alone: only rows that come into view are drawn then. */
const KeptRow = memo(GridRow) as typeof GridRow;

function keysOf<R>(grid: Props<R>, active: number, move: (to: number) => void, page: number) {
  const steps: Record<string, number> = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -Infinity, End: Infinity };
  return (event: KeyboardEvent<HTMLDivElement>): void => {
    if (event.target !== event.currentTarget || grid.rows.length === 0) return;
    const row = grid.rows[active];
    const step = steps[event.key];
    const { level = 1, open } = (row !== undefined && grid.levelOf?.(row)) || {};
    const parent = (): number => grid.rows.findLastIndex((each, place) => place < active && (grid.levelOf?.(each).level ?? level) < level);
    if (step !== undefined) move(step === -Infinity ? 0 : step === Infinity ? grid.rows.length - 1 : active + step);
    else if (event.key === "Enter" && row !== undefined) grid.onOpen?.(row);
    else if (event.key === "ArrowRight" && row !== undefined && open === false) grid.onToggle?.(row, true);
    else if (event.key === "ArrowRight" && open === true) move(active + 1);
    else if (event.key === "ArrowLeft" && row !== undefined && open === true) grid.onToggle?.(row, false);
    else if (event.key === "ArrowLeft" && level > 1) move(parent());
    else return;
    event.preventDefault();
  };
}
