// What a person can do where an undo was refused: have it tried again, or accept what it left behind.
import { Alert, Button, Group, Text } from "@mantine/core";
import { IconAlertTriangle } from "@tabler/icons-react";
import { useState } from "react";
import type { Job } from "../api/virtyard/api/jobs/v1/job_pb";
import { jobs as jobService } from "../client/services";
import { ConfirmDialog } from "../ui/ConfirmDialog";
import { ListOf } from "../ui/ListOf";
import { ProblemAlert } from "../ui/ProblemAlert";
import { useCall } from "../ui/use-call";

export function JobResidueActions({ job }: { job: Job }) {
  const [accepting, setAccepting] = useState(false);
  const retry = useCall();
  const accept = useCall();
  return (
    <Alert color="red" variant="outline" icon={<IconAlertTriangle aria-hidden />} title="An undo was refused">
      <Text size="sm" mb="xs">
        Its objects stay locked until a person decides: remove what is in the way and have it tried again, or accept what it
        left behind.
      </Text>
      <Group gap="xs">
        <Button size="compact-md" loading={retry.busy} onClick={() => retry.run(() => jobService.retryJob({ name: job.name }))}>
          Try the undo again
        </Button>
        <Button size="compact-md" variant="default" onClick={() => setAccepting(true)}>
          Accept what is left
        </Button>
      </Group>
      {retry.problem && <ProblemAlert title="It could not be tried again" problem={retry.problem} onClose={retry.clear} />}
      <ConfirmDialog
        opened={accepting}
        onClose={() => setAccepting(false)}
        title={`Accept what ${job.title} left behind?`}
        verb="Accept"
        destructive
        call={accept}
        onConfirm={() => accept.run(() => jobService.acceptJob({ name: job.name }), () => setAccepting(false))}
      >
        <Text size="sm">The operation ends as partial, its locks are released, and this stays for somebody to see to by hand:</Text>
        <ListOf items={job.residue} />
      </ConfirmDialog>
    </Alert>
  );
}
