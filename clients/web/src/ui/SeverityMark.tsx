// The badge beside an object that has an open event: the sign of its severity, and what happened on hover and on focus.
import { Text, Tooltip } from "@mantine/core";
import { IconAlertOctagonFilled, IconAlertTriangleFilled } from "@tabler/icons-react";
import { Severity, type Event } from "../api/virtyard/api/inventory/v1/event_pb";
import { useWorstEvent } from "../live";

interface Props {
  /** The resource name of the object. */
  name: string;
  focusable?: boolean;
}

/** Nothing while the object has no open event of weight. */
export function SeverityMark({ name, focusable = false }: Props) {
  const event = useWorstEvent(name);
  return event ? <EventMark event={event} focusable={focusable} /> : null;
}

const COLOURS = {
  critical: "light-dark(var(--mantine-color-red-8), var(--mantine-color-red-5))",
  warning: "light-dark(var(--mantine-color-orange-8), var(--mantine-color-yellow-5))",
};

export function EventMark({ event, focusable }: { event: Event; focusable: boolean }) {
  const critical = event.severity === Severity.CRITICAL;
  const word = critical ? "Critical" : "Warning";
  const Icon = critical ? IconAlertOctagonFilled : IconAlertTriangleFilled;
  return (
    <Tooltip
      label={
        <>
          <Text size="sm" fw={600}>
            {word}: {event.type}
          </Text>
          <Text size="xs">{event.message}</Text>
        </>
      }
      events={{ hover: true, focus: true, touch: true }}
      multiline
      maw={360}
      withArrow
      position="right"
    >
      <span
        role="img"
        aria-label={`${word}: ${event.message}`}
        tabIndex={focusable ? 0 : undefined}
        data-severity={word}
        style={{ display: "inline-flex" }}
      >
        <Icon size={16} color={critical ? COLOURS.critical : COLOURS.warning} aria-hidden />
      </span>
    </Tooltip>
  );
}
