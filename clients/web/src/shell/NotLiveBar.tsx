// The bar over the screen while what it shows may be old, or while nobody is signed in.
import { Code } from "@mantine/core";
import { IconPlugConnectedX } from "@tabler/icons-react";
import { useEffect, useState } from "react";
import { useLive } from "../live";
import classes from "./NotLiveBar.module.css";

/** A restart of one service takes less; a bar that flashes by helps nobody. */
const PATIENCE_MS = 1_000;

export function NotLiveBar() {
  const { live, signedOut, sources, since } = useLive();
  const [patient, setPatient] = useState(true);
  useEffect(() => {
    setPatient(true);
    if (live) return;
    const timer = setTimeout(() => setPatient(false), PATIENCE_MS);
    return () => clearTimeout(timer);
  }, [live, since]);
  const down = [...new Set(sources.filter(({ state }) => state === "notLive").map(({ label }) => label))];
  const shown = signedOut || (!live && !patient);
  return (
    <div role="status" className={classes.bar} data-shown={shown || undefined}>
      {shown && (
        <>
          <IconPlugConnectedX size={18} aria-hidden style={{ flex: "none" }} />
          {signedOut ? (
            <span>
              Nobody is signed in here, or the session has ended. Run <Code>virtyard console</Code> where Virtyard runs, and
              open the link that it prints.
            </span>
          ) : (
            <span>
              Not live: {down.length > 0 ? `no news of ${down.join(", ")}` : "the gateway cannot be reached"}. What is shown
              may be old; it is tried again by itself.
            </span>
          )}
        </>
      )}
    </div>
  );
}
