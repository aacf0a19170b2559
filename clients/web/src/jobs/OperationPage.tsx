// One operation with its jobs and their steps.
import { Page } from "../ui/Page";

export default function OperationPage() {
  return <Page title="Operation" />;
}
