// The way from an empty site to a running machine.
import { Page } from "../ui/Page";

export default function FirstRunPage() {
  return <Page title="First steps" />;
}
