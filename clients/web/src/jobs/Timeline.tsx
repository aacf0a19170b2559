// The picture of an operation over time: when each job waited, for what, and when it worked; the same as a table beside it.
import { Button, Group, Table, Text } from "@mantine/core";
import { useId, useState } from "react";
import { colourOf } from "../ui/looks";
import { showLength, showMoment } from "../ui/moments";
import { useWidth } from "../ui/use-width";
import { LookBadge } from "../ui/LookBadge";
import { ticksOf, type Lane, type Mark, type Span, type Timeline as Drawn } from "./lanes";
import classes from "./Timeline.module.css";

const LANE = 44;
const AXIS = 26;
const WORDS: Record<Span["kind"], string> = { locks: "waited for locks", turn: "waited for its turn", work: "worked" };

export function Timeline({ timeline, running }: { timeline: Drawn; running: boolean }) {
  const [table, setTable] = useState(false);
  return (
    <>
      <Group justify="space-between" mb="xs">
        <Legend />
        <Button variant="default" size="compact-sm" onClick={() => setTable(!table)} aria-pressed={table}>
          {table ? "Show as a picture" : "Show as a table"}
        </Button>
      </Group>
      {table ? <TimelineTable timeline={timeline} /> : <Picture timeline={timeline} running={running} />}
    </>
  );
}

function Picture({ timeline, running }: { timeline: Drawn; running: boolean }) {
  const [frame, width] = useWidth<HTMLDivElement>(800);
  const id = useId();
  const length = timeline.to - timeline.from;
  const height = AXIS + timeline.lanes.length * LANE + 4;
  const x = (time: number): number => ((time - timeline.from) / length) * (width - 2) + 1;
  return (
    <div ref={frame}>
      <svg role="img" aria-labelledby={`${id}-title ${id}-desc`} width={width} height={height} className={classes.picture}>
        <title id={`${id}-title`}>Timeline of the operation's jobs</title>
        <desc id={`${id}-desc`}>{describe(timeline, running)}</desc>
        <Hatching id={id} />
        {ticksOf(length, Math.max(2, Math.floor(width / 90))).map((tick) => (
          <g key={tick} transform={`translate(${x(timeline.from + tick)} 0)`}>
            <line y1={AXIS - 6} y2={height} className={classes.tick} />
            <text y={12} textAnchor={tick === 0 ? "start" : x(timeline.from + tick) > width - 30 ? "end" : "middle"} className={classes.axis}>
              {tick === 0 ? showMoment(timeline.from) : `+${showLength(tick)}`}
            </text>
          </g>
        ))}
        {timeline.lanes.map((lane, index) => (
          <LaneOf key={lane.name} lane={lane} x={x} width={width} top={AXIS + index * LANE} hatching={`url(#${id}-hatch)`} />
        ))}
        {timeline.marks.map((mark, index) => (
          <MarkOf key={index} mark={mark} at={x(mark.at)} top={AXIS + mark.lane * LANE} />
        ))}
      </svg>
    </div>
  );
}

function Hatching({ id }: { id: string }) {
  return (
    <defs>
      <pattern id={`${id}-hatch`} width={7} height={7} patternUnits="userSpaceOnUse" patternTransform="rotate(45)">
        <rect width={7} height={7} className={classes.waitGround} />
        <line y2={7} className={classes.waitLine} />
      </pattern>
    </defs>
  );
}

function LaneOf({ lane, x, width, top, hatching }: { lane: Lane; x: (time: number) => number; width: number; top: number; hatching: string }) {
  const colour = colourOf(lane.look.tone);
  const first = lane.spans[0];
  const labelAt = Math.min(first ? x(first.from) + 2 + lane.depth * 12 : 2, width - 10);
  return (
    <g transform={`translate(0 ${top})`} data-lane={lane.name}>
      <text x={labelAt} y={12} className={classes.label}>
        {lane.title}: {lane.look.word}
      </text>
      {lane.spans.map((span, index) => (
        <rect
          key={index}
          data-span={span.kind}
          x={x(span.from)}
          width={Math.max(2, x(span.to) - x(span.from))}
          y={span.kind === "turn" ? 23 : 18}
          height={span.kind === "turn" ? 2 : 12}
          rx={span.kind === "turn" ? 0 : 2}
          fill={span.kind === "locks" ? hatching : span.kind === "turn" ? "var(--mantine-color-dimmed)" : colour}
        >
          <title>{`${lane.title} ${WORDS[span.kind]} for ${showLength(span.to - span.from)}`}</title>
        </rect>
      ))}
      <Steps lane={lane} x={x} />
    </g>
  );
}

/** The strip below a bar: its steps when they were done and undone, each as far as it is. */
function Steps({ lane, x }: { lane: Lane; x: (time: number) => number }) {
  return lane.steps.map((step, index) => {
    const left = x(step.from);
    const size = Math.max(1, x(step.to) - left - 1);
    return (
      <g key={index}>
        <title>{`${step.title}: ${step.look.word}, ${showLength(step.to - step.from)}`}</title>
        <rect x={left} width={size} y={32} height={5} className={classes.stepGround} />
        <rect x={left} width={size * step.done} y={32} height={5} fill={colourOf(step.look.tone)} data-step={step.look.word} />
      </g>
    );
  });
}

function MarkOf({ mark, at, top }: { mark: Mark; at: number; top: number }) {
  return (
    <path d="M 0 -5 L 5 0 L 0 5 L -5 0 Z" transform={`translate(${at} ${top + 24})`} className={classes.mark}>
      <title>{`${mark.type} at ${showMoment(mark.at)}: ${mark.message}`}</title>
    </path>
  );
}

function Legend() {
  return (
    <Group gap="md" aria-hidden>
      <Key sign={<rect width={18} height={10} className={classes.waitKey} />} text="waits for locks" />
      <Key sign={<rect y={4} width={18} height={2} fill="var(--mantine-color-dimmed)" />} text="waits for its turn" />
      <Key sign={<rect width={18} height={10} rx={2} fill={colourOf("active")} />} text="works" />
      <Key sign={<rect y={3} width={18} height={5} fill={colourOf("good")} />} text="its steps" />
      <Key sign={<path d="M 9 0 L 14 5 L 9 10 L 4 5 Z" className={classes.mark} />} text="event" />
    </Group>
  );
}

function Key({ sign, text }: { sign: React.ReactNode; text: string }) {
  return (
    <Group gap={6} wrap="nowrap">
      <svg width={18} height={10}>
        {sign}
      </svg>
      <Text size="xs">{text}</Text>
    </Group>
  );
}

/** The picture in a sentence for each job. */
function describe(timeline: Drawn, running: boolean): string {
  const lanes = timeline.lanes.map((lane) => {
    const spans = lane.spans.map((span) => `${WORDS[span.kind]} ${showLength(span.to - span.from)}`);
    return `${lane.title} is ${lane.look.word}${spans.length > 0 ? `: ${spans.join(", ")}` : ""}.`;
  });
  const whole = `${showLength(timeline.to - timeline.from)} ${running ? "so far" : "in all"}.`;
  return [whole, ...lanes].join(" ");
}

function TimelineTable({ timeline }: { timeline: Drawn }) {
  const cell = (lane: Lane, kind: Span["kind"]): string => {
    const spans = lane.spans.filter((each) => each.kind === kind);
    return spans.length > 0 ? showLength(spans.reduce((sum, span) => sum + span.to - span.from, 0)) : "";
  };
  return (
    <Table.ScrollContainer minWidth={560}>
      <Table>
        <Table.Caption>How long each job waited and worked, and how many of its steps are done.</Table.Caption>
        <Table.Thead>
          <Table.Tr>
            {["Job", "State", "Waited for locks", "Waited for its turn", "Began", "Worked", "Steps done"].map((title) => (
              <Table.Th key={title}>{title}</Table.Th>
            ))}
          </Table.Tr>
        </Table.Thead>
        <Table.Tbody>
          {timeline.lanes.map((lane) => (
            <Table.Tr key={lane.name}>
              <Table.Td style={{ paddingInlineStart: 10 + lane.depth * 20 }}>{lane.title}</Table.Td>
              <Table.Td>
                <LookBadge look={lane.look} />
              </Table.Td>
              <Table.Td>{cell(lane, "locks")}</Table.Td>
              <Table.Td>{cell(lane, "turn")}</Table.Td>
              <Table.Td>{showMoment(lane.spans.find((span) => span.kind === "work")?.from)}</Table.Td>
              <Table.Td>{cell(lane, "work")}</Table.Td>
              <Table.Td>
                {lane.count[0]} of {lane.count[1]}
              </Table.Td>
            </Table.Tr>
          ))}
        </Table.Tbody>
      </Table>
    </Table.ScrollContainer>
  );
}
