// Where notes of what goes on are shown: below the header, and not over the job summary.
import { getDefaultZIndex } from "@mantine/core";
import { Notifications } from "@mantine/notifications";
import { useNarrow } from "../ui/use-narrow";

export function Notes() {
  // Where a note is as wide as the screen it would cover the title of a dialog: it lies below that, and is there afterwards.
  const zIndex = useNarrow() ? getDefaultZIndex("modal") - 1 : getDefaultZIndex("overlay");
  return <Notifications position="top-right" style={{ marginTop: 52 }} zIndex={zIndex} />;
}
