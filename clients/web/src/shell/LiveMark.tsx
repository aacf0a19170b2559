// Says whether what is shown is current: a word and a dot, and what is in the way on demand.
import { Badge, List, Popover, Stack, Text, UnstyledButton } from "@mantine/core";
import { useEffect, useState } from "react";
import { useLive, type LiveStatus } from "../live";
import { showLength } from "../ui/moments";
import { useNow } from "../ui/use-now";
import classes from "./LiveMark.module.css";

/** How long a break lasts before it is called one: a change of screens may take a moment. */
const PATIENCE_MS = 400;

/** The words for the state of the watch. */
export function liveWord(status: LiveStatus, everLive: boolean): "Live" | "Connecting" | "Not live" | "Signed out" {
  if (status.signedOut) return "Signed out";
  if (status.live) return "Live";
  return everLive || status.problem ? "Not live" : "Connecting";
}

export function LiveMark() {
  const status = useLive();
  const [everLive, setEverLive] = useState(false);
  useEffect(() => {
    if (status.live) setEverLive(true);
  }, [status.live]);
  const now = useNow(!status.live);
  const shown = status.live || now - status.since.getTime() > PATIENCE_MS ? status : { ...status, live: everLive };
  const word = liveWord(shown, everLive);
  const down = status.sources.filter(({ state }) => state === "notLive");
  return (
    <Popover width={320} withArrow shadow="md" position="bottom-end">
      <Popover.Target>
        <UnstyledButton className={classes.mark} data-live={word === "Live" || undefined} data-state={word} aria-label={`Connection: ${word}`}>
          <span className={classes.dot} aria-hidden />
          <span className={classes.word}>{word}</span>
        </UnstyledButton>
      </Popover.Target>
      <Popover.Dropdown>
        <Stack gap={6}>
          <Text size="sm" fw={600} role="status">
            {word}
            {!status.live && everLive && `, for ${showLength(now - status.since.getTime())}`}
          </Text>
          <Text size="sm">
            {status.live
              ? "What is shown is what is: changes arrive as they happen."
              : "What is shown may be old. It is tried again until it succeeds."}
          </Text>
          {status.problem && <Text size="xs">{status.problem}</Text>}
          {down.length > 0 && (
            <List size="xs">
              {down.map(({ label, error }) => (
                <List.Item key={label}>
                  <Badge size="xs" color="red" variant="outline">
                    {label}
                  </Badge>{" "}
                  {error?.message}
                </List.Item>
              ))}
            </List>
          )}
        </Stack>
      </Popover.Dropdown>
    </Popover>
  );
}
