// Acknowledges an event with a comment; where what it tells of still holds, that is said, and it can be forced.
import { Button, Text } from "@mantine/core";
import type { Event } from "../api/virtyard/api/inventory/v1/event_pb";
import { inventory } from "../client/services";
import { ConfirmDialog } from "../ui/ConfirmDialog";
import { useCall } from "../ui/use-call";
import { canAcknowledge } from "./standing";

// What the second look at the condition is refused with; anything else no force would help against.
const REFUSED = new Set(["CONDITION_STILL_HOLDS", "UNAVAILABLE"]);

interface Props {
  event: Event;
  opened: boolean;
  onClose: () => void;
  onDone: (event: Event) => void;
  /** Is called where it was refused and no force would help: the event is not what it was taken for. */
  onRefused: () => void;
}

export function AcknowledgeDialog({ event, opened, onClose, onDone, onRefused }: Props) {
  const call = useCall();
  const acknowledge = (comment: string, force: boolean): void =>
    call.run(
      () => inventory.acknowledgeEvent({ name: event.name, comment, force }),
      (answer) => {
        onDone(answer);
        onClose();
      },
      (problem) => REFUSED.has(problem.reason) || onRefused(),
    );
  return (
    <ConfirmDialog
      opened={opened}
      onClose={onClose}
      title="Acknowledge this event?"
      verb="Acknowledge"
      reasonLabel="Comment"
      call={call}
      ready={canAcknowledge(event)}
      onConfirm={(comment) => acknowledge(comment, false)}
      more={(comment) =>
        call.problem &&
        REFUSED.has(call.problem.reason) && (
          <Button color="red" variant="outline" loading={call.busy} onClick={() => acknowledge(comment, true)}>
            Acknowledge anyway
          </Button>
        )
      }
    >
      <Text size="sm">{event.message}</Text>
      <Text size="sm">
        It needs no more attention then{event.blocks.length > 0 && `, and ${event.blocks.join(", ")} on ${event.object} is allowed again`}.
        Whether it still holds is looked at once more before that.
      </Text>
    </ConfirmDialog>
  );
}
