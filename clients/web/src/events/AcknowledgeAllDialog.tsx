// Acknowledges all open events that a filter lets pass: first it says which those are, then it does it.
import { Checkbox, List, Loader, Text } from "@mantine/core";
import { useEffect, useState } from "react";
import type { AcknowledgeEventsResponse } from "../api/virtyard/api/inventory/v1/inventory_service_pb";
import { ConfirmDialog } from "../ui/ConfirmDialog";
import { problemOf, type Problem } from "../ui/problem";
import { ProblemAlert } from "../ui/ProblemAlert";
import { ResourceLink } from "../ui/ResourceLink";
import { useCall } from "../ui/use-call";

interface Request {
  filter: string;
  comment: string;
  force: boolean;
  validateOnly: boolean;
}

interface Props {
  opened: boolean;
  /** Which events, as an AIP-160 filter. */
  filter: string;
  onClose: () => void;
  acknowledge: (request: Request) => Promise<AcknowledgeEventsResponse>;
}

export function AcknowledgeAllDialog({ opened, filter, onClose, acknowledge }: Props) {
  const call = useCall();
  const [force, setForce] = useState(false);
  const [told, setTold] = useState<{ answer: AcknowledgeEventsResponse | undefined; problem: Problem | undefined }>({ answer: undefined, problem: undefined });
  // The service wants a filter, even where everything is meant.
  const wanted = filter || "open = true";
  useEffect(() => {
    if (!opened) return;
    let off = false;
    setTold({ answer: undefined, problem: undefined });
    acknowledge({ filter: wanted, comment: "", force, validateOnly: true }).then(
      (answer) => off || setTold({ answer, problem: undefined }),
      (error: unknown) => off || setTold({ answer: undefined, problem: problemOf(error) }),
    );
    return () => {
      off = true;
    };
    // The call is the same in each rendering.
  }, [opened, wanted, force]);
  const close = (): void => {
    setForce(false);
    onClose();
  };
  const rows = told.answer?.acknowledgements ?? [];
  const refused = rows.filter((row) => !row.acknowledged);
  return (
    <ConfirmDialog
      opened={opened}
      onClose={close}
      title="Acknowledge all open events that are shown?"
      verb={`Acknowledge ${rows.length - refused.length}`}
      reasonLabel="Comment"
      call={call}
      ready={rows.length > refused.length}
      onConfirm={(comment) => call.run(() => acknowledge({ filter: wanted, comment, force, validateOnly: false }), close)}
    >
      {told.problem && <ProblemAlert title="What that would come to is not known" problem={told.problem} />}
      {!told.answer && !told.problem && <Loader role="status" size="sm" aria-label="Asking what would be acknowledged" />}
      {told.answer && rows.length === 0 && <Text size="sm">None of them is open.</Text>}
      {refused.length > 0 && (
        <>
          <Text size="sm">These would stay open:</Text>
          <List size="sm">
            {refused.map((row) => (
              <List.Item key={row.event}>
                <ResourceLink name={row.event} text={row.type} /> on <ResourceLink name={row.object} />: {row.refusal}
              </List.Item>
            ))}
          </List>
        </>
      )}
      {(refused.length > 0 || force) && <Checkbox label="Acknowledge those as well, by force" checked={force} onChange={(event) => setForce(event.currentTarget.checked)} />}
    </ConfirmDialog>
  );
}
