// The connection to a machine's screen: VNC over a WebSocket of the gateway, by noVNC.
import RFB from "@novnc/novnc";
import { useCallback, useEffect, useRef, useState, type RefObject } from "react";

/** How the connection stands. */
export type ScreenState =
  | { phase: "idle" }
  | { phase: "connecting" }
  | { phase: "connected" }
  | { phase: "disconnected"; why: string };

/** A machine's screen and what can be done with it. */
export interface Screen {
  state: ScreenState;
  connect: () => void;
  disconnect: () => void;
  sendCtrlAltDel: () => void;
  /** Gives the keyboard to the machine. */
  grab: () => void;
  /** Takes the keyboard back from the machine. */
  release: () => void;
  setScaled: (scaled: boolean) => void;
}

// The keys that are held down when the keyboard is taken back.
const HELD: readonly [number, string][] = [
  [0xffe3, "ControlLeft"],
  [0xffe4, "ControlRight"],
  [0xffe9, "AltLeft"],
  [0xffea, "AltRight"],
];

/** Connects to the screen of a machine inside an element, for as long as that is shown. */
export function useScreen(machine: string, target: RefObject<HTMLDivElement | null>): Screen {
  const [state, setState] = useState<ScreenState>({ phase: "idle" });
  const rfb = useRef<RFB | undefined>(undefined);
  const scaled = useRef(true);

  const disconnect = useCallback(() => {
    rfb.current?.disconnect();
    rfb.current = undefined;
    setState((before) => (before.phase === "idle" ? before : { phase: "disconnected", why: "You disconnected." }));
  }, []);

  const connect = useCallback(() => {
    if (!target.current) return;
    rfb.current?.disconnect();
    target.current.replaceChildren();
    setState({ phase: "connecting" });
    const made = new RFB(target.current, addressOf(machine), { shared: true });
    made.scaleViewport = scaled.current;
    made.background = "transparent";
    rfb.current = made;
    made.addEventListener("connect", () => {
      if (rfb.current === made) setState({ phase: "connected" });
    });
    made.addEventListener("disconnect", (event) => {
      if (rfb.current !== made) return;
      rfb.current = undefined;
      const why = event.detail.clean ? "The machine's screen was closed; it may have stopped." : "The connection was lost, or the screen cannot be reached.";
      setState({ phase: "disconnected", why });
    });
    made.addEventListener("securityfailure", (event) => {
      if (rfb.current === made) setState({ phase: "disconnected", why: event.detail.reason ?? "The screen refused the connection." });
    });
  }, [machine, target]);

  useEffect(
    () => () => {
      rfb.current?.disconnect();
      rfb.current = undefined;
    },
    [],
  );

  return {
    state,
    connect,
    disconnect,
    sendCtrlAltDel: () => rfb.current?.sendCtrlAltDel(),
    grab: () => rfb.current?.focus(),
    release: () => {
      for (const [keysym, code] of HELD) rfb.current?.sendKey(keysym, code, false);
      rfb.current?.blur();
    },
    setScaled: (wanted) => {
      scaled.current = wanted;
      if (rfb.current) rfb.current.scaleViewport = wanted;
    },
  };
}

function addressOf(machine: string): string {
  const id = encodeURIComponent(machine.slice(machine.indexOf("/") + 1));
  return `${window.location.origin.replace(/^http/, "ws")}/console/${id}/vnc`;
}
