// The wait-for graph as a picture: holders at the left, arrows from who waits to whom; the same in sentences beside it.
import { List, Text } from "@mantine/core";
import { useId } from "react";
import { useNavigate } from "react-router";
import { LockMode } from "../api/virtyard/api/type/v1/lock_pb";
import { ResourceLink } from "../ui/ResourceLink";
import { pageOf } from "../ui/pages";
import type { Edge, Node, Wait, WaitGraph as Graph } from "./wait-graph";
import classes from "./WaitGraph.module.css";

const WIDTH = 210;
const HEIGHT = 48;
const COLUMN = 362;
const ROW = 96;
const PAD = 8;

const left = (node: Node): number => PAD + node.layer * COLUMN;
const middle = (node: Node): number => PAD + node.row * ROW + HEIGHT / 2;

export function WaitGraph({ graph }: { graph: Graph }) {
  const id = useId();
  const width = 2 * PAD + (graph.layers - 1) * COLUMN + WIDTH;
  const height = 2 * PAD + (graph.rows - 1) * ROW + HEIGHT + (graph.layers > 2 ? ROW / 2 : 12);
  return (
    <>
      <div className={classes.frame} tabIndex={0} role="region" aria-label="Picture of who waits for whom">
        <svg role="img" aria-labelledby={`${id}-title ${id}-desc`} width={width} height={height} data-testid="wait-graph">
          <title id={`${id}-title`}>Who waits for whom</title>
          <desc id={`${id}-desc`}>{graph.edges.flatMap((edge) => edge.waits.map(sentence)).join(" ")}</desc>
          <defs>
            <marker id={`${id}-arrow`} viewBox="0 0 8 8" refX={8} refY={4} markerWidth={8} markerHeight={8} orient="auto-start-reverse">
              <path d="M 0 0 L 8 4 L 0 8 Z" className={classes.arrowhead} />
            </marker>
          </defs>
          {graph.edges.map((edge) => (
            <Arrow key={`${edge.from.party.name}|${edge.to.party.name}`} edge={edge} marker={`url(#${id}-arrow)`} />
          ))}
          {graph.nodes.map((node) => (
            <Box key={node.party.name} node={node} />
          ))}
        </svg>
      </div>
      <List size="sm" aria-label="Who waits for whom">
        {graph.edges.flatMap((edge) =>
          edge.waits.map((wait) => (
            <List.Item key={`${wait.waiter}|${wait.blocker}|${wait.object}`}>
              <ResourceLink name={wait.waiter} /> ({edge.from.party.title}) waits for <ResourceLink name={wait.blocker} /> (
              {edge.to.party.title}), which {wait.queued ? "goes first" : "holds it"}: {LockMode[wait.wanted]} against {LockMode[wait.mode]} on{" "}
              <ResourceLink name={wait.object} />
            </List.Item>
          )),
        )}
      </List>
    </>
  );
}

function sentence(wait: Wait): string {
  return `${wait.waiter} waits for ${wait.blocker} over ${wait.object}.`;
}

function Box({ node }: { node: Node }) {
  const navigate = useNavigate();
  const { party } = node;
  const page = pageOf(party.name);
  return (
    <g
      transform={`translate(${left(node)} ${middle(node) - HEIGHT / 2})`}
      className={page ? classes.link : undefined}
      onClick={() => page && void navigate(page)}
      data-party={party.name}
      data-waiting={party.waiting}
    >
      <title>{`${party.name}: ${party.title}`}</title>
      <rect width={WIDTH} height={HEIGHT} rx={4} className={party.waiting ? classes.waiting : classes.holding} />
      <text x={10} y={19} className={classes.name}>
        {cut(party.title || party.name, 28)}
      </text>
      <text x={10} y={37} className={classes.detail}>
        {cut(`${party.name}, ${party.waiting ? "waits" : "holds"}`, 32)}
      </text>
    </g>
  );
}

function Arrow({ edge, marker }: { edge: Edge; marker: string }) {
  const { from, to, waits } = edge;
  const start = { x: left(from), y: middle(from) };
  const end = { x: left(to) + WIDTH, y: middle(to) };
  const bend = from.layer > to.layer ? Math.max(40, (start.x - end.x) / 2) : 40;
  // One that passes other layers goes below what stands between.
  const sag = from.layer - to.layer > 1 ? ROW * 0.55 : 0;
  const first = waits[0];
  const more = waits.length > 1 ? ` +${waits.length - 1}` : "";
  return (
    <g data-edge={`${from.party.name}>${to.party.name}`}>
      <path
        d={`M ${start.x} ${start.y} C ${start.x - bend} ${start.y + sag * 1.35}, ${end.x + bend} ${end.y + sag * 1.35}, ${end.x + 2} ${end.y}`}
        className={waits.every((wait) => wait.queued) ? classes.behind : classes.arrow}
        markerEnd={marker}
      />
      {first && (
        <text x={(start.x + end.x) / 2} y={start.y + (end.y - start.y) / 2 + sag - 7} textAnchor="middle" className={classes.object}>
          {cut(first.object, 26)}
          {more}
        </text>
      )}
    </g>
  );
}

function cut(text: string, most: number): string {
  return text.length > most ? `${text.slice(0, most - 1)}…` : text;
}

/** What the kinds of lines mean. */
export function GraphLegend() {
  return (
    <Text size="xs" c="dimmed">
      A whole line leads to who holds the lock, a dashed one to who waits too and goes first.
    </Text>
  );
}
