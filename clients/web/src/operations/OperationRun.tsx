// One operation being asked for: its form, the plan that it would have, and the run itself.
import { Button, Grid, Group, Paper, Stack, Text, Title } from "@mantine/core";
import type { Message } from "@bufbuild/protobuf";
import { IconEye, IconPlayerPlay } from "@tabler/icons-react";
import { useState, type KeyboardEvent, type SyntheticEvent } from "react";
import type { Catalogue, OperationType } from "../forms/catalogue";
import { FormContext } from "../forms/context";
import { FieldRows } from "../forms/FieldRows";
import { Page } from "../ui/Page";
import { ConfirmRun } from "./ConfirmRun";
import classes from "./OperationRun.module.css";
import { PlanView } from "./PlanView";
import { RunProblem } from "./RunProblem";
import { useOperationForm } from "./useOperationForm";
import { useRun } from "./useRun";

interface Props {
  catalogue: Catalogue;
  operation: OperationType;
  values: readonly [string, string][];
  /** The object as it is, where the operation acts on one. */
  object: Message | undefined;
  /** What was asked for before, where that is to be asked for again. */
  earlier: Message | undefined;
  reload: () => void;
}

export function OperationRun({ catalogue, operation, values, object, earlier, reload }: Props) {
  const form = useOperationForm(catalogue, operation, values, object, earlier);
  const run = useRun(operation, form);
  const [confirming, setConfirming] = useState(false);
  const { destructive } = operation;
  const canPreview = operation.method.input.fields.some((field) => field.name === "validate_only");
  const submit = async (event: SyntheticEvent) => {
    event.preventDefault();
    if (!destructive) return run.start();
    if (await run.preview()) setConfirming(true);
    return undefined;
  };
  return (
    <Page title={operation.title} lead={operation.comment}>
      <FormContext value={form.state}>
        <Grid gap="md">
          <Grid.Col span={{ base: 12, lg: 7 }}>
            <Paper
              component="form"
              withBorder
              p="md"
              noValidate
              onSubmit={submit}
              onKeyDown={withoutRunning}
              aria-label={operation.title}
            >
              <Stack gap="md">
                {run.problem && <RunProblem problem={run.problem} title={operation.title} reload={reload} renew={form.renew} />}
                <FieldRows fields={form.specs} path={[]} />
                {form.unchanged && (
                  <Text size="sm" c="dimmed">
                    Nothing has been changed yet.
                  </Text>
                )}
                <Group gap="sm" className={classes.buttons}>
                  <Button
                    type="submit"
                    color={destructive ? "red" : undefined}
                    loading={run.busy === "run"}
                    disabled={form.unchanged || run.busy !== ""}
                    leftSection={<IconPlayerPlay size={16} aria-hidden />}
                  >
                    {destructive ? "Run..." : "Run"}
                  </Button>
                  {canPreview && (
                    <Button
                      variant="default"
                      loading={run.busy === "preview"}
                      disabled={form.unchanged || run.busy !== ""}
                      leftSection={<IconEye size={16} aria-hidden />}
                      onClick={() => void run.preview()}
                    >
                      Preview
                    </Button>
                  )}
                </Group>
              </Stack>
            </Paper>
          </Grid.Col>
          <Grid.Col span={{ base: 12, lg: 5 }}>
            <Paper component="section" withBorder p="md" aria-label="Plan" aria-live="polite" className={classes.plan}>
              <Stack gap="sm">
                <Title order={2}>Plan</Title>
                {run.plan ? (
                  <PlanView plan={run.plan} />
                ) : (
                  <Text size="sm" c="dimmed">
                    Preview shows the jobs that it would run, the locks that they take and the servers that they touch. It changes
                    nothing.
                  </Text>
                )}
              </Stack>
            </Paper>
          </Grid.Col>
        </Grid>
        <ConfirmRun
          opened={confirming}
          operation={operation}
          plan={run.plan}
          busy={run.busy === "run"}
          close={() => setConfirming(false)}
          run={() => {
            setConfirming(false);
            void run.start();
          }}
        />
      </FormContext>
    </Page>
  );
}

/** Who presses Enter where something is picked has picked it, or found nothing to pick; nothing is run by that. */
function withoutRunning(event: KeyboardEvent): void {
  if (event.key === "Enter" && (event.target as Element).getAttribute("role") === "combobox") event.preventDefault();
}
