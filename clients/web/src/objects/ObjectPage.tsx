// One object: its summary, its jobs, events and locks, and what can be done with it.
import { Page } from "../ui/Page";

export default function ObjectPage() {
  return <Page title="Object" />;
}
