// The form of one operation type.
import { Page } from "../ui/Page";

export default function RunPage() {
  return <Page title="Run" />;
}
