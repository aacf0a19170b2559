// The number of open events, in the tone of the worst of them.
import { Badge, UnstyledButton } from "@mantine/core";
import { IconBell } from "@tabler/icons-react";
import { Link } from "react-router";
import { Severity } from "../api/virtyard/api/inventory/v1/event_pb";
import { useOpenEvents } from "../live";
import { countOf } from "../ui/counts";
import classes from "./LiveMark.module.css";

export function EventCount() {
  const { count, worst } = useOpenEvents();
  const words = count === 0 ? "No open events" : countOf(count, "open event");
  return (
    <UnstyledButton component={Link} to="/events" className={classes.mark} data-live aria-label={words} title={words}>
      <IconBell size={18} aria-hidden />
      {count > 0 && (
        <Badge size="sm" circle={count < 10} color={worst === Severity.CRITICAL ? "red.8" : "yellow.5"} autoContrast>
          {count > 99 ? "99+" : count}
        </Badge>
      )}
    </UnstyledButton>
  );
}
