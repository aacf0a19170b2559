// What to do about an error: when it may be tried again, or else what the API says beside its reason.
import { Text } from "@mantine/core";
import { Command } from "./Command";
import { remedyFor, type Problem } from "./problem";

export function ToDo({ problem }: { problem: Problem }) {
  const remedy = remedyFor(problem.reason);
  const again = problem.retrySeconds ? `try it again in ${problem.retrySeconds.toLocaleString(undefined, { maximumFractionDigits: 1 })} s` : "";
  if (!again && !remedy) return null;
  return (
    <Text size="sm" component="div" data-testid="remedy">
      <Text span size="sm" fw={600}>
        To do:
      </Text>{" "}
      {again || remedy?.text}
      {!again && remedy?.command && (
        <>
          {": "}
          <Command text={remedy.command} />
        </>
      )}
    </Text>
  );
}
