// The jobs of the site.
import { Page } from "../ui/Page";

export default function JobsPage() {
  return <Page title="Jobs" />;
}
