// A machine's serial log as it grows: read through the gateway, and again from the same place after a cut.
import { useEffect, useRef, useState } from "react";
import { GatewayService } from "../api/virtyard/api/gateway/v1/gateway_service_pb";
import { clientOf } from "../client/transport";
import { problemOf, type Problem } from "../ui/problem";
import { SerialText } from "./serialText";

/** How much of the end is shown at first. */
const SHOWN_BYTES = 256 * 1024;
const AGAIN_MS = 2000;

/** What is known of a log. */
export interface SerialLog {
  lines: readonly string[];
  /** How many lines came before those that are kept. */
  dropped: number;
  /** Whether bytes come as they are written. */
  live: boolean;
  problem: Problem | undefined;
}

const EMPTY: SerialLog = { lines: [], dropped: 0, live: false, problem: undefined };

/** Follows the serial log of a machine while it is shown. */
export function useSerialLog(machine: string): SerialLog {
  const [log, setLog] = useState<SerialLog>(EMPTY);
  const drawing = useRef(0);
  useEffect(() => {
    const stop = new AbortController();
    void follow(machine, stop.signal, (change) => {
      // Many pieces make one picture.
      cancelAnimationFrame(drawing.current);
      drawing.current = requestAnimationFrame(() => setLog(change));
    });
    return () => {
      stop.abort();
      cancelAnimationFrame(drawing.current);
      setLog(EMPTY);
    };
  }, [machine]);
  return log;
}

async function follow(machine: string, signal: AbortSignal, told: (log: SerialLog) => void): Promise<void> {
  let text = new SerialText();
  let offset = -SHOWN_BYTES;
  while (!signal.aborted) {
    try {
      const request = { virtualMachine: machine, offsetBytes: BigInt(offset), follow: true };
      for await (const piece of clientOf(GatewayService).readSerialLog(request, { signal })) {
        const next = Number(piece.nextOffsetBytes);
        // It has begun anew: the machine was started again.
        if (offset >= 0 && next < offset) text = new SerialText();
        offset = next;
        text.add(piece.data);
        told({ ...text.read(), live: true, problem: undefined });
      }
      told({ ...text.read(), live: false, problem: undefined });
    } catch (error) {
      if (signal.aborted) return;
      told({ ...text.read(), live: false, problem: problemOf(error) });
    }
    await waited(AGAIN_MS, signal);
  }
}

/** The whole log, as bytes. */
export async function wholeLog(machine: string): Promise<Blob> {
  const pieces: BlobPart[] = [];
  for await (const piece of clientOf(GatewayService).readSerialLog({ virtualMachine: machine })) {
    pieces.push(new Uint8Array(piece.data));
  }
  return new Blob(pieces, { type: "text/plain" });
}

function waited(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener("abort", () => {
      clearTimeout(timer);
      resolve();
    });
  });
}
