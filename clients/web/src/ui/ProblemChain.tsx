// What led to an error, on request: the causes beneath it, and what a program reads of it.
import { Code, Text } from "@mantine/core";
import type { Problem } from "./problem";
import classes from "./ProblemChain.module.css";
import { ResourceLink } from "./ResourceLink";

/** Something that failed, and led to the error above it. */
export interface Cause {
  /** What failed, as "Create Virtual Disk" or "step 2, Make the image". */
  title: string;
  /** On which object, or by whom. */
  resource: string;
  problem: Problem | undefined;
  /** What led to this in turn. */
  causes: readonly Cause[];
}

export function ProblemChain({ problem, causes }: { problem: Problem; causes: readonly Cause[] }) {
  return (
    <details className={classes.chain}>
      <summary className={classes.summary}>{causes.length > 0 ? "What led to it" : "Details"}</summary>
      <Causes causes={causes} />
      <dl className={classes.facts}>
        <Fact name="Reason" value={problem.reason} />
        <Fact name="Code" value={problem.code} />
        {problem.facts.map(([name, value]) => (
          <Fact key={name} name={name} value={value} />
        ))}
      </dl>
    </details>
  );
}

function Causes({ causes }: { causes: readonly Cause[] }) {
  if (causes.length === 0) return null;
  return (
    <ul className={classes.causes}>
      {causes.map((cause, index) => (
        <li key={index}>
          <Text size="sm" component="div" style={{ overflowWrap: "anywhere" }}>
            <Text span size="sm" fw={600}>
              {cause.title}
            </Text>{" "}
            {cause.resource && <ResourceLink name={cause.resource} />}
            {cause.problem && (
              <>
                {": "}
                {cause.problem.message} <Code>{cause.problem.reason}</Code>
              </>
            )}
          </Text>
          <Causes causes={cause.causes} />
        </li>
      ))}
    </ul>
  );
}

function Fact({ name, value }: { name: string; value: string }) {
  return (
    <>
      <dt>{name}</dt>
      <dd>
        <Code>{value}</Code>
      </dd>
    </>
  );
}
