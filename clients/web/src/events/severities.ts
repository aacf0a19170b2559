// How severities look, and in which order they stand.
import { Severity } from "../api/virtyard/api/inventory/v1/event_pb";
import type { Look } from "../ui/looks";

const LOOKS: Partial<Record<Severity, Look>> = {
  [Severity.UNKNOWN]: { word: "unknown", tone: "quiet", sign: "question" },
  [Severity.INFORMATIONAL]: { word: "informational", tone: "quiet", sign: "info" },
  [Severity.WARNING]: { word: "warning", tone: "caution", sign: "alert" },
  [Severity.CRITICAL]: { word: "critical", tone: "bad", sign: "cross" },
};

export const severityLook = (severity: Severity): Look => LOOKS[severity] ?? { word: "unknown", tone: "quiet", sign: "question" };

/** Severities by which events can be narrowed: these and above. */
export const SEVERITIES: readonly Severity[] = [Severity.INFORMATIONAL, Severity.WARNING, Severity.CRITICAL];
