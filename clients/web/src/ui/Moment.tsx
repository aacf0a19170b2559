// A moment in a line of text; the whole date on hover, and for machines.
import { showMoment, showWholeMoment } from "./moments";

export function Moment({ at }: { at: number | undefined }) {
  if (at === undefined) return null;
  return (
    <time dateTime={new Date(at).toISOString()} title={showWholeMoment(at)} style={{ whiteSpace: "nowrap" }}>
      {showMoment(at)}
    </time>
  );
}
