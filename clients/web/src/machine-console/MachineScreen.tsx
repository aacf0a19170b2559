// A machine's screen in the browser, with its keyboard and mouse.
import { Alert, Button, Checkbox, Group, Kbd, Stack, Text } from "@mantine/core";
import { IconKeyboard, IconPlugConnected, IconPlugConnectedX } from "@tabler/icons-react";
import { useEffect, useRef, useState, type KeyboardEvent } from "react";
import classes from "./MachineScreen.module.css";
import { useScreen, type ScreenState } from "./useScreen";

const WORDS: Record<ScreenState["phase"], string> = {
  idle: "Not connected",
  connecting: "Connecting...",
  connected: "Connected",
  disconnected: "Disconnected",
};

export function MachineScreen({ machine, title }: { machine: string; title: string }) {
  const target = useRef<HTMLDivElement>(null);
  const leave = useRef<HTMLButtonElement>(null);
  const screen = useScreen(machine, target);
  const [scaled, setScaled] = useState(true);
  const { phase } = screen.state;
  const { connect } = screen;
  useEffect(connect, [connect]);

  // Before noVNC sees the key: it keeps every one of them, Tab too, and nobody must be caught in there.
  const onKey = (event: KeyboardEvent) => {
    if (!event.ctrlKey || !event.altKey || event.code !== "KeyG") return;
    event.preventDefault();
    event.stopPropagation();
    screen.release();
    leave.current?.focus();
  };

  return (
    <Stack gap="sm">
      <Group gap="sm" justify="space-between">
        <Text size="sm" role="status">
          {WORDS[phase]}
        </Text>
        <Group gap="xs">
          {phase === "connected" || phase === "connecting" ? (
            <Button variant="default" size="xs" leftSection={<IconPlugConnectedX size={16} aria-hidden />} onClick={screen.disconnect}>
              Disconnect
            </Button>
          ) : (
            <Button size="xs" leftSection={<IconPlugConnected size={16} aria-hidden />} onClick={connect}>
              Connect
            </Button>
          )}
          <Button variant="default" size="xs" disabled={phase !== "connected"} onClick={screen.sendCtrlAltDel}>
            Send Ctrl-Alt-Del
          </Button>
          <Button
            ref={leave}
            variant="default"
            size="xs"
            disabled={phase !== "connected"}
            leftSection={<IconKeyboard size={16} aria-hidden />}
            onClick={screen.grab}
          >
            Type into the machine
          </Button>
          <Checkbox
            label="Fit to the page"
            checked={scaled}
            onChange={(event) => {
              setScaled(event.currentTarget.checked);
              screen.setScaled(event.currentTarget.checked);
            }}
          />
        </Group>
      </Group>
      {screen.state.phase === "disconnected" && (
        <Alert color="yellow" variant="outline" title="Disconnected">
          <Text size="sm">{screen.state.why}</Text>
        </Alert>
      )}
      <div
        ref={target}
        className={classes.screen}
        data-scaled={scaled}
        role="application"
        aria-label={`Screen of ${title}`}
        onKeyDownCapture={onKey}
      />
      <Text size="xs" c="dimmed">
        While the screen has the focus, every key goes to the machine, Tab as well. <Kbd>Ctrl</Kbd> + <Kbd>Alt</Kbd> + <Kbd>G</Kbd> brings
        the keyboard back to this page.
      </Text>
    </Stack>
  );
}
